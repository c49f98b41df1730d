"""What is wrong with a command, in one line. Imported before torch is."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.errors import (
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import Container, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from contnet.errors import ConfigError, RunError

CONF = Path(__file__).resolve().parents[2] / "conf"


def is_the_users(error: Exception) -> bool:
    """Whether an error is about what was typed, rather than a fault of the program's."""
    about_groups = isinstance(error, ValueError) and str(error).startswith("Config group override")
    return about_groups or isinstance(
        error, HydraException | OmegaConfBaseException | ConfigError | RunError
    )


def explain(error: BaseException) -> str:
    """What an error of Hydra's or OmegaConf's means for the one who typed the command, in one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        options = sorted(error.options or ())
        if not options:  # Hydra names none that are in folders of a group
            group, _, option = error.missing_cfg_file.partition("/")
            options = options_of(group)
        if options and "/" in error.missing_cfg_file:
            return f"{group}={option} is not an option; choose from {', '.join(options)}"
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return "a group must be given the name of one of its options, or left out as in ~logger; got null"
    if isinstance(error, OverrideParseException):
        return f"{error.override} is no override; it must be key=value, with lists as [a,b] and odd characters quoted"
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, MissingMandatoryValue):
        return f"{cause.full_key} must be given, as {cause.full_key}=..."
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(
        cause.parent_node, Container
    ):
        return _explain_unknown_key(str(cause.full_key), cause.parent_node)
    return " ".join(str(error).split())


def options_of(group: str) -> list[str]:
    """What `group=...` may be, options in folders of the group included. An underscore opens the name of a file that is
    only a part of others."""
    files = [file for file in (CONF / group).rglob("*.yaml") if not file.name.startswith("_")]
    return sorted(str(file.relative_to(CONF / group).with_suffix("")) for file in files)


def _explain_unknown_key(key: str, parent: Container) -> str:
    root = OmegaConf.to_container(parent._get_root())
    known = [name for name in _keys(root) if not name.startswith("hydra.")]
    likely = [name for name in known if name.rpartition(".")[2] == key]
    likely += get_close_matches(
        key, [name for name in known if not key.startswith(f"{name}.")], n=1, cutoff=0.75
    )
    siblings = [
        name
        for name in _keys(OmegaConf.to_container(parent))
        if "." not in name and name != "hydra"
    ]
    hint = (
        f"did you mean {' or '.join(dict.fromkeys(likely))}?"
        if likely
        else f"there are {', '.join(siblings)}"
    )
    return f"{key} is not a key; {hint}"


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys that a user may set."""
    if isinstance(config, dict):
        for key, value in config.items():
            if not str(key).startswith("_"):
                yield f"{prefix}{key}"
                yield from _keys(value, f"{prefix}{key}.")
