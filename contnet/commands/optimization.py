"""From a configuration to the optimizer of a network and its learning-rate schedule."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from contnet.commands.instantiate import accepted, check_kind, factory
from contnet.errors import ConfigError
from contnet.training.lr_schedule import Plateau, Resumable, Schedule, on_plateau
from contnet.training.optimizer import parameter_groups


def optimizer(options: DictConfig) -> Callable[[nn.Module], Optimizer]:
    """Return a function that makes the optimizer of a network's parameters.

    When the optimizer loads a state, it keeps its own settings, such as learning rate and weight
    decay. PyTorch would replace them by those of the state. So a run can be resumed with other
    settings.
    """
    decay_all = options.get("decay_norm_and_bias", True)
    others = [str(key) for key in options if key != "decay_norm_and_bias"]
    build = factory("optimizer", OmegaConf.masked_copy(options, others))

    def make(network: nn.Module) -> Optimizer:
        made: Optimizer = build(parameter_groups(network, decay_norm_and_bias=decay_all))
        check_kind("optimizer", options, made, Optimizer, "an optimizer of PyTorch")
        made.register_load_state_dict_pre_hook(_with_settings_of)
        return made

    return make


def _with_settings_of(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state to load, with the settings of the optimizer in place of its own."""
    groups = zip(optimizer.param_groups, state["param_groups"], strict=True)
    settings = [{**made, "params": saved["params"]} for made, saved in groups]
    return {**state, "param_groups": settings}


def schedule(config: DictConfig) -> Callable[..., Schedule]:
    """Return a function that makes the learning-rate schedule of an optimizer.

    Its arguments are the optimizer, the number of its steps in an epoch, and whether the run has
    validation images.

    Raises:
        ConfigError: if the name cannot be imported; the function, if an option is not allowed, or
            what has been made is no schedule.
    """
    build = factory("lr_schedule", config.lr_schedule)

    def make(optimizer: Optimizer, *, steps_per_epoch: int, has_val: bool = True) -> Schedule:
        options = accepted(build, epochs=config.epochs, steps_per_epoch=steps_per_epoch)
        made = _for_lightning(build(optimizer, **options), config.lr_schedule, has_val=has_val)
        if not has_val and str(made.get("monitor")).startswith("val_"):
            raise ConfigError(
                "lr_schedule.monitor must be train_loss or train_accuracy without validation "
                f"images, got {made['monitor']}"
            )
        if not isinstance(made["scheduler"], Resumable | Plateau):
            optimizer.register_load_state_dict_pre_hook(_keep_settings_of, prepend=True)
        return made

    return make


def _for_lightning(made: Any, node: DictConfig, *, has_val: bool) -> Schedule:
    """Return what an own `lr_schedule` has made as a dictionary, as Lightning takes it."""
    options = dict(made) if isinstance(made, dict) else {"scheduler": made, "interval": "epoch"}
    scheduler = options.get("scheduler")
    meaning = "a learning-rate scheduler of PyTorch, or a dictionary with one as scheduler"
    check_kind("lr_schedule", node, scheduler, LRScheduler, meaning)
    if isinstance(scheduler, ReduceLROnPlateau):
        return {**on_plateau(scheduler, "val_loss" if has_val else "train_loss"), **options}
    return options


def _keep_settings_of(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer the settings of a state that it loads.

    Schedulers of PyTorch compute each rate from the one before, not from the step. So they can only
    go on from the rate of the state.
    """
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        group.update({name: value for name, value in saved.items() if name != "params"})
