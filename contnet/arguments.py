"""Checks of constructor arguments: one rule, one wording.

Each function returns the value that it was given, or raises `ValueError`. Its message begins with
the name of the argument. A command puts the group of the configuration before it: `alpha must be
...` becomes `model.alpha must be ...`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any


def integer(name: str, value: Any, minimum: int) -> int:
    """Return a whole number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    return value


def number(
    name: str, value: Any, minimum: float, below: float = math.inf, *, exclusive: bool = False
) -> float:
    """Return a finite number in [minimum, below), or in (minimum, below) where `exclusive`."""
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
    """Return True or False; no other value is accepted in their place."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def folder(name: str, value: Any) -> Path:
    """Return the path of a folder, which need not exist."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be the path of a folder, got {value!r}")
    return Path(value)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return one of the names in `allowed`."""
    choices = list(allowed)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    return value


def epochs(name: str, value: Any, n_epochs: int | None = None) -> list[int]:
    """Return epochs in increasing order, from 1 to n_epochs - 1 where that is given."""

    def epoch(name: str, value: Any) -> None:
        integer(name, value, minimum=1)
        if n_epochs is not None and value >= n_epochs:
            raise ValueError(
                f"{name} must lie before the end of the run at {n_epochs}, got {value}"
            )

    return increasing(name, value, "epochs", epoch)


def increasing(name: str, value: Any, meaning: str, check: Callable[[str, Any], Any]) -> list[Any]:
    """Return a list of numbers in increasing order, each of which passes `check`.

    `meaning` says in messages what they are.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{name} must be a list of {meaning}, got {value!r}")
    for one in value:
        check(name, one)
    if list(value) != sorted(set(value)):
        raise ValueError(
            f"{name} must be in increasing order and without repetition, got {list(value)}"
        )
    return list(value)
