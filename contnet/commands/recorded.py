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
from contnet.runs.trust import ask_for_trust, trust_in

Trusted = Callable[[str], bool]
"""A function of the name of a class or function that says whether the user trusts it."""

LARGEST = 2**16
"""Bytes of a file of the record. Those of Hydra have about 5,000."""

LONGEST = 2**10
"""Characters of an override, and overrides of a record. Hydra's grammar is slow."""

LONGEST_RECORD = 2**13
"""Characters of all overrides of a record."""

MOST_BRACKETS = 32
"""Lists and dictionaries in the value of an override."""

PLACES = ("run_dir", "trust", "trainer.default_root_dir", "trainer.plugins", "dataset.download")
"""Keys that say where a run writes, what it downloads, and what code it loads."""

NAMES = "names a class or function"

WATCHING = ("callbacks.", "logger.")
"""Keys of groups that write files and send figures. A record may set numbers there, no names."""

LOCAL_LOGGERS = {"tensorboard", "csv", "None"}
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
    is_list = isinstance(overrides, list) and len(overrides) <= LONGEST
    if not is_list or not all(isinstance(one, str) for one in overrides):
        raise ConfigError(f"hydra.run.dir: {str(folder / OVERRIDES)!r} is no list of overrides")
    if sum(map(len, overrides)) > LONGEST_RECORD:
        raise ConfigError(f"hydra.run.dir: {str(folder / OVERRIDES)!r} is too long for a run's")
    kept = [one for one in overrides if key_of(one) not in replaced]
    for override in kept:
        obstacle = obstacle_of(override, is_trusted)
        if obstacle:
            shown = override if len(override) < 200 else f"{override[:200]}..."
            advice = "; if you want it, type it yourself"
            if obstacle == NAMES:
                advice += ask_for_trust(classes_of(override))
            raise ConfigError(
                f"hydra.run.dir: the record in {str(folder)!r} has {shown!r}, which {obstacle}"
                f"{advice}"
            )
    return kept


def needed_trust(folder: Path) -> str | None:
    """Return the override that trusts what the record of `folder` names; None if it is not needed.

    It is for commands that are shown to the user, of a run that the user has made.
    """
    try:
        overrides = recorded_overrides(folder, set(), lambda name: True)
    except ConfigError:
        return None
    names = [name for override in overrides for name in classes_of(override)]
    return trust_in(names) if names else None


def classes_of(override: str) -> list[str]:
    """Return the names of the classes and functions that an override names."""
    parsed = OverridesParser.create().parse_override(override)
    value = None if parsed.is_delete() else parsed.value()
    leaves = _leaves(str(parsed.key_or_group), value)
    return [str(one) for place, one in leaves if place.rpartition(".")[2] == "_target_"]


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
    """Return the content of a file of the record, with every value as text."""
    path = folder / file
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"hydra.run.dir: {str(path)!r} is too large for a record of Hydra")
        return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except OSError as error:
        raise ConfigError(
            f"hydra.run.dir must be the folder of a run; {str(folder)!r} has no {file}"
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"hydra.run.dir: {str(path)!r} is no record of Hydra") from error


def obstacle_of(override: str, is_trusted: Trusted = lambda name: False) -> str | None:
    """Return why a record may not repeat an override, or None if it may."""
    if len(override) > LONGEST or not override.isprintable() or override.startswith("-"):
        return "is no override of a run"
    if override.count("[") + override.count("{") > MOST_BRACKETS:
        return "is no override of a run"
    try:
        parsed = OverridesParser.create().parse_override(override)
    except (HydraException, RecursionError):
        return "is no override"
    if parsed.is_sweep_override():
        return "is no override of a single run"
    key = str(parsed.key_or_group)
    if parsed.package is not None or key.partition(".")[0].partition("/")[0] == "hydra":
        return "changes Hydra itself"
    if "${" in override:
        return "looks a value up elsewhere"
    value = None if parsed.is_delete() else parsed.value()
    if "." not in key and not isinstance(value, dict):
        chosen = [str(one) for one in (value if isinstance(value, list) else [value])]
        if any(".." in option or option.startswith("/") for option in chosen):
            return "chooses an option outside the groups"
        if key == "logger" and not LOCAL_LOGGERS.issuperset(chosen):
            return "chooses where figures are sent"
    obstacles = (_about_value(place, one, is_trusted) for place, one in _leaves(key, value))
    return next((obstacle for obstacle in obstacles if obstacle), None)


def _about_value(place: str, value: Any, is_trusted: Trusted) -> str | None:
    """Return why a record may not set a single value, or None if it may."""
    *groups, name = place.split(".")
    if name == "_target_" and not is_trusted(str(value)):
        return NAMES
    for word in {*groups, name} - {"_target_"}:
        if word.startswith("_"):
            return f"has the word {word} of Hydra's"
    if place.startswith(PLACES):
        return "says where a run reads or writes"
    is_text = value is not None and not isinstance(value, bool | int | float)
    if place.startswith(WATCHING) and is_text and name != "_target_":
        return "says what is written or sent"
    if place == "dataset.root" and ".." in str(value):
        return "reads a folder outside this one"
    return _about_size(place, value)


def _about_size(place: str, value: Any) -> str | None:
    """Return why a record may not ask for so much, or None if it may."""
    from contnet.runs.archive import MalformedError  # imports torch
    from contnet.runs.schema import DATA_SET

    most = os.cpu_count() or 1
    if place in ("trainer.devices", "dataset.num_workers"):
        is_few = isinstance(value, int) and value <= most
        if value != "auto" and not is_few:
            return f"asks for more processes than this machine has cores, {most}"
    if place == "trainer.num_nodes" and value != 1:
        return "waits for other machines"
    rule = DATA_SET.get(place.removeprefix("dataset."))
    if place.startswith("dataset.") and rule is not None and value is not None:
        try:
            rule(place, value)
        except MalformedError as error:
            return f"is too large: {error}"
    return None


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the place and the value of each single value in nested dictionaries and lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{place}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(place, inner)
    else:
        yield place, value
