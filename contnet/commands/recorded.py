"""The overrides that a run's folder records, as far as a command may repeat them.

A folder may be somebody else's, so its record is data. Its overrides set values and choose options,
and may do no more: name a class, look something up, read a file outside the groups, or say where a
run writes and what it sends. The user can type such an override again. Then it is the user's.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from contnet.commands.grammar import key_of
from contnet.errors import ConfigError
from contnet.runs.folder import CHOICES, OVERRIDES, check_own_files

Trusted = Callable[[str], bool]
"""A function of the name of a class or function that says whether the user trusts it."""

LARGEST = 2**18
"""Bytes of a file of the record. Those of Hydra have about 5,000."""

PLACES = ("run_dir", "trust", "trainer.default_root_dir", "trainer.plugins")
"""Keys that say where a run writes, what it reads, and what code it loads."""

WATCHING = ("callbacks.", "logger.")
"""Keys of groups that write files and send figures. A record may set numbers there, no names."""

LOCAL_LOGGERS = ("tensorboard", "csv", "[tensorboard,csv]")
"""Options of the group logger that send nothing."""


def recorded_overrides(folder: Path, replaced: set[str], is_trusted: Trusted) -> list[str]:
    """Return the overrides that the run in `folder` was started with.

    Args:
        folder: the folder of a run.
        replaced: keys whose overrides are left out, because the user has typed others.
        is_trusted: a function that says whether the user trusts the name of a class.

    Raises:
        ConfigError: if they are not recorded there, or the record may not repeat one of them.
    """
    check_own_files(folder)
    overrides = _read(folder, OVERRIDES)
    if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
        raise ConfigError(
            f"hydra.run.dir: {str(folder / OVERRIDES)!r} must hold a list of overrides"
        )
    kept = [one for one in overrides if key_of(one) not in replaced]
    for override in kept:
        obstacle = obstacle_of(override, is_trusted)
        if obstacle:
            raise ConfigError(
                f"hydra.run.dir: the record in {str(folder)!r} has {override!r}, which "
                f"{obstacle}; if you want it, type it yourself"
            )
    return kept


def recorded_choices(folder: Path) -> dict[str, str]:
    """Return the option of each group that the run in `folder` was started with.

    Raises:
        ConfigError: if they are not recorded there.
    """
    choices = _read(folder, CHOICES)
    for key in ("hydra", "runtime", "choices"):
        choices = choices.get(key) if isinstance(choices, dict) else None
    if not isinstance(choices, dict):
        raise ConfigError(
            f"hydra.run.dir: {str(folder / CHOICES)!r} does not hold the chosen options"
        )
    return {str(group): str(option) for group, option in choices.items()}


def _read(folder: Path, file: Path) -> Any:
    path = folder / file
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"hydra.run.dir: {str(path)!r} is too large for a record of Hydra")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"hydra.run.dir must be the folder of a run; {str(folder)!r} has no {file}"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"hydra.run.dir: {str(path)!r} is no record of Hydra") from error


def obstacle_of(override: str, is_trusted: Trusted = lambda name: False) -> str | None:
    """Return why a record may not repeat an override, or None if it may."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return "is no override"
    if not override.isprintable() or override.startswith("-") or parsed.is_sweep_override():
        return "is no override of a single run"
    key = str(parsed.key_or_group)
    value = None if parsed.is_delete() else parsed.value()
    if key.partition(".")[0].partition("/")[0] == "hydra":
        return "changes Hydra itself"
    if key in PLACES:
        return "says where a run reads or writes"
    if "${" in override:
        return "looks a value up elsewhere"
    return _about_names(key, value, is_trusted) or _about_value(key, value)


def _about_names(key: str, value: Any, is_trusted: Trusted) -> str | None:
    # The value at its place: {"model": {"_target_": ...}} for model._target_=...
    for name in reversed(key.split(".")):
        value = {name: value}
    for name, one in _items(value):
        if name == "_target_" and not is_trusted(str(one)):
            return "names a class or function"
        if name.startswith("_") and name != "_target_":
            return f"has the word {name} of Hydra's"
    return None


def _about_value(key: str, value: Any) -> str | None:
    if "." not in key and (".." in str(value) or str(value).startswith(("/", "["))):
        return "chooses an option outside the groups"
    if key.startswith(WATCHING) and _holds_text(value):
        return "says what is written or sent"
    if key == "logger" and value is not None and str(value) not in LOCAL_LOGGERS:
        return "chooses where figures are sent"
    if key in ("trainer.devices", "trainer.num_nodes", "dataset.num_workers"):
        return _about_processes(value)
    if key == "dataset.root" and ".." in str(value):
        return "reads a folder outside this one"
    return None


def _about_processes(value: Any) -> str | None:
    most = os.cpu_count() or 1
    if isinstance(value, int) and value > most:
        return f"starts more processes than this machine has cores, {most}"
    return None


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key with its value in nested dictionaries and lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _items(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _items(inner)


def _holds_text(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_holds_text, value.values() if isinstance(value, dict) else value))
    return value is not None and not isinstance(value, bool | int | float)
