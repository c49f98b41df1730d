"""Checks of constructor arguments, so that every refusal reads alike.

Each function returns the value it was given and raises `ValueError` with a message that opens with the argument's
name; an entry point only has to put the configuration group in front of it (`model.` + `alpha must be ...`).
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def integer(name: str, value: Any, minimum: int) -> int:
    """A whole number that is at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    return value


def number(
    name: str, value: Any, minimum: float, below: float = math.inf, *, exclusive: bool = False
) -> float:
    """A finite number in [minimum, below), or in (minimum, below) where `exclusive`."""
    allowed = f"greater than {minimum:g}" if exclusive else f"at least {minimum:g}"
    if below != math.inf:
        allowed += f" and less than {below:g}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        not is_number
        or not math.isfinite(value)
        or not (minimum <= value < below)
        or (exclusive and value == minimum)
    ):
        raise ValueError(f"{name} must be a number {allowed}, got {value!r}")
    return value


def boolean(name: str, value: Any) -> bool:
    """True or False, and nothing that merely counts as such."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def folder(name: str, value: Any) -> Path:
    """The path of a folder, which may be there or not."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be the path of a folder, got {value!r}")
    return Path(value)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """One of the names in `allowed`."""
    choices = list(allowed)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    return value
