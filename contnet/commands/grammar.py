"""Words of a command line: the name of the command, and overrides `key=value` in Hydra's grammar.

This module is imported before torch is.
"""

import re
import sys
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


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
