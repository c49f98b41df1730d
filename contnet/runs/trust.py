"""The gate between a file and what is built from it.

A checkpoint records the names of classes and functions, and their arguments. It may be somebody
else's, so the record is data. What passes here is built as if the user had typed it:

- of contnet, exactly the networks and data sets that are listed here, with plain values as
  arguments;
- of other modules, only what `trust` names, and only if it is defined there.

Nothing else in a record is built: no optimizer, schedule, callback, logger or plugin.

This module is imported before torch is.
"""

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from contnet.errors import ConfigError, described
from contnet.runs.names import TRACEBACK, import_from_here, imported, targets

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
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    names = [*value] if is_list else [value]
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


def check_node(path: str, key: str, node: dict[str, Any], trusted: Sequence[str]) -> None:
    """Check that a file may have the object of a node built.

    Args:
        path: the file, for messages.
        key: the place of the node: `model` or `dataset`.
        node: the name of the class as `_target_`, and its arguments, in plain containers.
        trusted: the modules that the user trusts.

    Raises:
        ConfigError: if it names something that no file may have built, or has an argument that is
            a word of Hydra's grammar.
    """
    _check_names(path, key, node, trusted)
    _check_arguments(path, key, node)


def _check_names(path: str, key: str, node: dict[str, Any], trusted: Sequence[str]) -> None:
    listed = LISTED[key]
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


def is_module(name: str) -> bool:
    """Return True for a name that a module may have, such as mypackage.mynet."""
    return name.isascii() and all(part.isidentifier() for part in name.split("."))


def trust_in(names: Iterable[str]) -> str | None:
    """Return the override that trusts the modules of named classes; None for odd names."""
    modules = sorted({name.rpartition(".")[0] for name in names})
    return f"trust=[{','.join(modules)}]" if all(map(is_module, modules)) else None


def ask_for_trust(names: Iterable[str]) -> str:
    """Return the end of a message that refuses named classes: how the user can trust them."""
    override = trust_in(names)
    return f"; only if you know that code and trust it, add '{override}'" if override else ""
