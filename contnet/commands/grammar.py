"""Words of a command line: the name of the command, and overrides `key=value` in Hydra's grammar.

This module is imported before torch is.
"""

import re
import sys
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

SHORT = ("scheme", "n_time_steps", "rtol", "atol")
"""Keys that may be typed without their group in a command that uses a trained network.

Hydra would take `scheme=...` for the choice of an option in the group of train.py.
"""

_HOME = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|"""  # in quotes, a ~ is a character like others
    r"((?:^=|[,\[(])\s*)(~(?:/[^,\])]*)?)(?=[,\])]|$)"
)
"""A path that begins with ~, where a value begins or an element of a list."""


def program(command: str) -> str:
    """Return how the user starts `train` or `evaluate`: installed, or in a checkout."""
    installed = Path(sys.argv[0]).name.startswith("contnet-")
    return f"contnet-{command}" if installed else f"python {command}.py"


def key_of(override: str) -> str:
    """Return the key of an override, which changes it, adds it (+, ++) or deletes it (~)."""
    return override.partition("=")[0].lstrip("+~")


def value_of(key: str, overrides: list[str]) -> str | None:
    """Return the value of a key, the last one if there are several.

    It is None if no override has the key. It is also None if Hydra cannot parse the override: Hydra
    reports that itself.
    """
    given = [override for override in overrides if key_of(override) == key and "=" in override]
    try:
        return str(OverridesParser.create().parse_override(given[-1]).value()) if given else None
    except HydraException:
        return None


def override_of(key: str, path: Path | str) -> str:
    """Return the override that sets a key to a path, quoted where Hydra needs that."""
    plain = f"{key}={path}"
    # In quotes, backslashes stand for themselves except before a quote.
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", str(path)).replace("'", r"\'")
    return plain if value_of(key, [plain]) == str(path) else f"{key}='{escaped}'"


def with_manifestation(overrides: list[str]) -> list[str]:
    """Return overrides in which `scheme`, for example, has become `manifestation.scheme`."""
    short = tuple(f"{key}=" for key in SHORT)
    return [f"manifestation.{one}" if one.startswith(short) else one for one in overrides]


def with_home(overrides: list[str]) -> list[str]:
    """Return overrides in which paths that begin with ~ lie below the home folder.

    A shell leaves the ~ in `key=~/data` alone, and it is an error in Hydra's grammar.
    """
    return [_with_home(override) for override in overrides]


def _with_home(override: str) -> str:
    key, equals, value = override.partition("=")

    def expanded(match: re.Match[str]) -> str:
        before, path = match.groups()
        if path is None:
            return match[0]
        return before + override_of("", Path(path).expanduser())[1:]

    return key + _HOME.sub(expanded, equals + value)
