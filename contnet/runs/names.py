"""Names of classes and functions in a configuration, and what they mean.

This module is imported before torch is.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contnet.errors import ConfigError, described

TRACEBACK = "HYDRA_FULL_ERROR=1 shows the traceback"


def targets(config: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the key and the value of each `_target_` in a configuration, in plain containers."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield f"{key}._target_", str(config["_target_"])
        for name, value in config.items():
            yield from targets(value, f"{key}.{name}")
    elif isinstance(config, list | tuple):
        for value in config:
            yield from targets(value, key)


def import_from_here(module: str) -> None:
    """Let a module in the working directory be imported, unless it is installed.

    The directory is the last in the search path, so that no file in it replaces a library.
    """
    here = str(Path.cwd())
    try:
        installed = importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        installed = False
    if not installed and here not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()


def imported(key: str, target: str) -> Any:
    """Import the object that a `_target_` names.

    Raises:
        ConfigError: if there is no such object; the message names the key.
    """
    import_from_here(target)
    module, *names = target.split(".")
    try:
        found: Any = importlib.import_module(module)
        for name in names:
            module = f"{module}.{name}"
            if not hasattr(found, name) and hasattr(found, "__path__"):
                importlib.import_module(module)
            found = getattr(found, name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{key} must name something that can be imported; {target}: {described(error)}; "
            f"{TRACEBACK}"
        ) from error
    return found
