"""The files of runs as data: JSON, YAML and CSV of limited size, and text that may be shown.

A folder may be somebody else's. So nothing in a file is executed, looked up elsewhere or waited
for.
"""

import csv
import json
from pathlib import Path
from typing import Any

import yaml

LARGEST = 2**26
"""Bytes of a file. `invariance.json` of a thousand classes has about 2^24."""

LARGEST_RECORD = 2**16
"""Bytes of a file of Hydra's record, which has about 5,000."""

LONGEST = 300
"""Characters of a text that is shown."""

# The loader of libyaml is as safe, and five times as fast.
_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DamagedError(ValueError):
    """A file that is there, but does not hold what it should; the message is one line."""


def json_of(path: Path) -> Any:
    """Return the content of a JSON file, or None if there is no such file.

    Raises:
        DamagedError: if it cannot be read.
    """
    text = _text(path, LARGEST)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path.name} is damaged") from error


def yaml_of(path: Path) -> Any:
    """Return the content of a YAML file, or None if there is no such file.

    Raises:
        DamagedError: if it cannot be read.
    """
    text = _text(path, LARGEST_RECORD)
    try:
        return None if text is None else yaml.load(text, _SAFE)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path.name} is damaged") from error


def csv_of(path: Path) -> list[dict[str, float]]:
    """Return the numbers in each row of a CSV file; no rows if there is no such file.

    Raises:
        DamagedError: if it cannot be read.
    """
    text = _text(path, LARGEST)
    if text is None:
        return []
    try:
        rows = list(csv.DictReader(text.splitlines()))
        return [{key: float(value) for key, value in row.items() if key and value} for row in rows]
    except (csv.Error, ValueError, TypeError) as error:
        raise DamagedError(f"{path.name} is damaged") from error


def printable(value: object) -> str:
    """Return a value as one short line without control characters."""
    text = str(value)
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def number(value: Any) -> float | None:
    """Return a value as a floating-point number, or None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _text(path: Path, largest: int) -> str | None:
    try:
        if not path.exists():
            return None
        if not path.is_file():  # a pipe or a device would be read without an end
            raise DamagedError(f"{path.name} is no file")
        if path.stat().st_size > largest:
            raise DamagedError(f"{path.name} is too large")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"{path.name} cannot be read") from error
