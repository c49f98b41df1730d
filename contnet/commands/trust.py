"""The gate between a checkpoint and a configuration: what a file may have built.

A checkpoint records the names of classes and functions, and their arguments. It may be somebody
else's, so the record is data. What passes here is built as if the user had typed it:

- of contnet, exactly the networks and data sets that are listed here, with plain values as
  arguments;
- of other modules, only what `trust` names, and only if it is defined there.

Nothing else in a record is built: no optimizer, schedule, callback, logger or plugin.
"""

import importlib
import os
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from contnet.commands.grammar import ask_for_trust, is_module
from contnet.commands.instantiate import TRACEBACK, import_from_here, imported, targets
from contnet.errors import ConfigError, described
from contnet.runs.checkpoint import Record

NETWORKS = tuple(
    f"contnet.{name}" for name in ("ContinuousNet", "WideContinuousNet", "ResNet", "WideResNet")
)
DOWNLOADED = tuple(f"contnet.data.{name}" for name in ("cifar10", "cifar100", "fashion_mnist"))
DATA_SETS = (
    *DOWNLOADED,
    *(f"contnet.data.{name}" for name in ("digits", "image_folder", "tiny_imagenet")),
)
LISTED = {"model": NETWORKS, "dataset": DATA_SETS}
"""The names of contnet that a checkpoint may have built, by the place where they stand."""


def trusted_modules(value: Any) -> tuple[str, ...]:
    """Return the modules that the user trusts, imported.

    Args:
        value: the value of the key `trust`: a name of a module, or a list of them.

    Raises:
        ConfigError: if it is no list of modules, or one of them cannot be imported.
    """
    names = [*value] if isinstance(value, ListConfig | list) else [value]
    for name in names:
        if not isinstance(name, str) or not is_module(name):
            raise ConfigError(f"trust must be a list of modules, such as [mynet], got {value!r}")
        import_from_here(name)
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"trust must name modules that can be imported; {name}: {described(error)}; "
                f"{TRACEBACK}"
            ) from error
    return tuple(names)


def recorded_config(
    path: str, record: Record, trusted: Sequence[str], dataset: DictConfig | None = None
) -> DictConfig:
    """Return the configuration of a checkpoint, of which networks and data may be built.

    Args:
        path: the checkpoint, for messages.
        record: its record, in which the schema of checkpoints has found no interpolation.
        trusted: the modules that the user trusts.
        dataset: keys that replace those of the data set, where they are not None.

    Raises:
        ConfigError: if the record names something that a checkpoint may not have built, or the data
            set has no such key.
    """
    typed = {str(key): value for key, value in (dataset or {}).items() if value is not None}
    recorded = record.config["dataset"]
    for key in typed:
        if key not in recorded:
            target = recorded["_target_"]
            raise ConfigError(f"dataset.{key} must be left out: {target} has no {key}")
    wanted = {**_within_this_machine(recorded), **typed}
    if wanted["_target_"] in DOWNLOADED:
        wanted["download"] = "root" in typed  # a file may not have anything downloaded
    config = OmegaConf.create({**record.config, "dataset": wanted})
    # Checked as it is built, and not as it is recorded: OmegaConf may read a container otherwise.
    plain: Any = OmegaConf.to_container(config)
    for key, listed in LISTED.items():
        _check_names(path, key, plain[key], listed, trusted)
        _check_arguments(path, key, plain[key])
    return config


def _check_names(
    path: str, key: str, node: dict[str, Any], listed: Sequence[str], trusted: Sequence[str]
) -> None:
    place = f"{key}._target_"
    named = [one for one in targets(node, key) if one[0] != place or one[1] not in listed]
    foreign = [(where, name) for where, name in named if not is_trusted(where, name, trusted)]
    if not foreign:
        return
    where, name = foreign[0]
    message = f"ckpt_path: {path!r} names {name!r} as its {where}, which no checkpoint may build"
    raise ConfigError(message + ask_for_trust([name for _, name in foreign]))


def is_trusted(key: str, name: str, trusted: Sequence[str]) -> bool:
    """Return True if a trusted module, or a module within one, defines what a name means."""
    if not any(_is_within(name, module) for module in trusted):
        return False
    home = getattr(imported(key, name), "__module__", None) or ""
    return any(_is_within(home, module) for module in trusted)


def _is_within(name: str, module: str) -> bool:
    return f"{name}.".startswith(f"{module}.")


def _check_arguments(path: str, key: str, node: dict[str, Any]) -> None:
    """Check that the arguments of a node are values, and not the words of Hydra's grammar."""
    for name in _keys(node):
        if name.startswith("_") and name != "_target_":
            raise ConfigError(
                f"ckpt_path: {path!r} has {key}.{name}, which only a command line may have"
            )


def _keys(config: Any) -> list[str]:
    if isinstance(config, dict):
        return [*config, *(name for value in config.values() for name in _keys(value))]
    if isinstance(config, list | tuple):
        return [name for value in config for name in _keys(value)]
    return []


def _within_this_machine(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return a data set that asks for no more processes and memory than this machine has."""
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    most = {"num_workers": os.cpu_count() or 1, "memory_gb": memory_gb / 2}
    bounded = {
        key: min(dataset[key], limit) for key, limit in most.items() if dataset.get(key) is not None
    }
    return {**dataset, **bounded}
