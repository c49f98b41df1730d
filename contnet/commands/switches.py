"""Settings that switch a part of a run off, and what has to be left out with it."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

OF_LIBRARIES = ("contnet.", "pytorch_lightning.")


def without_what_is_off(config: DictConfig) -> DictConfig:
    """Return a configuration without the callbacks that have nothing to do.

    A run saves no checkpoint if `trainer.enable_checkpointing` is false, or if the callbacks that
    save are left out. Lightning would refuse the first, and add a callback of its own for the
    second. Without validation, there is nothing to select the best checkpoint by.
    """
    callbacks = config.get("callbacks") or {}
    used = {str(name): options for name, options in callbacks.items() if options}
    saving = [name for name, options in used.items() if "Checkpoint" in str(options._target_)]
    if config.trainer.limit_val_batches == 0:
        selecting = [name for name in saving if _follows_validation(used[name])]
    else:
        selecting = []
    # Whether a class of the user's own saves is not known before it is made.
    may_save = set(saving) - set(selecting) or any(map(_is_own, used.values()))
    saves = config.trainer.enable_checkpointing and may_save
    config = config.copy()
    for name in selecting if saves else saving:
        OmegaConf.update(config, f"callbacks.{name}", None)
    OmegaConf.update(config, "trainer.enable_checkpointing", bool(saves))
    return config


def _follows_validation(options: Any) -> bool:
    return str(options.get("monitor")).startswith("val_")


def _is_own(options: Any) -> bool:
    return not str(options._target_).startswith(OF_LIBRARIES)
