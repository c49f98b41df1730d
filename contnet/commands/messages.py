"""Messages for errors of Hydra and OmegaConf: one line, in terms of the command line.

This module is imported before torch is.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import Container, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from contnet.errors import ConfigError, RunError

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = _PACKAGE / "conf"

ELSEWHERE = {
    "gpus": "devices",
    "num_gpus": "devices",
    "learning_rate": "lr",
    "max_epoch": "max_epochs",
    "checkpoint": "ckpt_path",
    "data": "root",
}
"""Names of keys in other programs, or earlier versions of Lightning, and what they are called here.
"""

SHORTEST = 3
"""Letters of the beginning of a key from which the key is guessed."""

CONF = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "conf"
"""The folder of Hydra's groups: inside an installed package, and beside it in a checkout."""


def is_the_users(error: Exception) -> bool:
    """Return True if an error is about the command, and not a fault of the program."""
    known = HydraException | OmegaConfBaseException | ConfigError | RunError
    return _is_about_a_group(error) or isinstance(error, known)


def explain(error: BaseException) -> str:
    """Return the message of an error in one line, in terms of the command line where possible."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    message = (
        _about_run_folder(error)
        or _about_missing_option(error)
        or _about_group_or_override(error)
        or _about_key(cause)
        or str(error)
    )
    return " ".join(message.split())


def _about_run_folder(error: BaseException) -> str | None:
    if "HydraConfig was not set" not in str(error):
        return None
    return "run_dir must be given outside of a command, as run_dir=path/to/folder"


def _about_missing_option(error: BaseException) -> str | None:
    if not isinstance(error, MissingConfigException) or not error.missing_cfg_file:
        return None
    if "/" not in error.missing_cfg_file:
        return None
    group, _, option = error.missing_cfg_file.partition("/")
    options = set(error.options or ())
    if group == "hydra" or not options_of(group):
        group, _, option = error.missing_cfg_file.rpartition("/")
    else:
        options.update(options_of(group))  # Hydra lists none of those in a group's folders
    if not options:
        return None
    names = sorted(options)
    inside = [name for name in names if name.rpartition("/")[2] == option]
    likely = inside or get_close_matches(option, names, n=1, cutoff=0.75)
    advice = f"did you mean {' or '.join(likely)}? There are" if likely else "choose from"
    return f"{group}={option} is not an option; {advice} {', '.join(names)}"


def _about_group_or_override(error: BaseException) -> str | None:
    if _is_about_a_group(error):
        return (
            "a group must be given the name of one of its options, or left out as in ~logger; "
            "got null"
        )
    if isinstance(error, OverrideParseException):
        key, equals, value = str(error.override).partition("=")
        advice = "quote special characters"
        if equals and value and "'" not in value and '"' not in value:
            advice = f"""quote special characters twice: '{key}="{value}"'"""
        return f"{error.override} is not an override; write key=value, lists as [a,b], and {advice}"
    return None


def _is_about_a_group(error: BaseException) -> bool:
    return isinstance(error, ValueError) and str(error).startswith("Config group override")


def _about_key(error: BaseException) -> str | None:
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given, as {error.full_key}=..."
    if not isinstance(error, ConfigAttributeError | ConfigKeyError):
        return None
    known = isinstance(error.parent_node, Container)
    return _about_unknown_key(str(error.full_key), error.parent_node) if known else None


def _about_unknown_key(key: str, parent: Container) -> str:
    root = OmegaConf.to_container(parent._get_root())
    known = [name for name in _keys(root) if not name.startswith("hydra.")]
    wanted = ELSEWHERE.get(key.rpartition(".")[2], key)
    likely = [name for name in known if name.rpartition(".")[2] == wanted]
    if len(key) >= SHORTEST:
        likely += [name for name in known if name.startswith(f"{key}_")]
    likely += get_close_matches(
        key, [name for name in known if not key.startswith(f"{name}.")], n=1, cutoff=0.75
    )
    if likely:
        return f"{key} is not a key; did you mean {' or '.join(dict.fromkeys(likely))}?"
    siblings = [name for name in _keys(OmegaConf.to_container(parent)) if "." not in name]
    shown = ", ".join(name for name in siblings if name != "hydra")
    if not shown:
        return f"{key} is not a key yet; +{key}=... adds it"
    return f"{key} is not a key; there are {shown}"


def options_of(group: str) -> list[str]:
    """Return the options of a group, those in its folders included."""
    files = (CONF / group).rglob("*.yaml")
    return sorted(str(file.relative_to(CONF / group).with_suffix("")) for file in files)


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys that a user may set."""
    if isinstance(config, dict):
        for key, value in config.items():
            if not str(key).startswith("_"):
                yield f"{prefix}{key}"
                yield from _keys(value, f"{prefix}{key}.")
