"""What a part has found, as lines of a table and as figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Args:
        what: the quantity, or what was checked.
        found: what was measured.
        aim: what it is meant to be.
        holds: True if it is so; None for a figure without a limit.
    """

    what: str
    found: str
    aim: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Outcome:
    """The lines of a part, and all its figures by name."""

    lines: list[Line]
    figures: Mapping[str, Any] = field(default_factory=dict)


def at_most(what: str, value: float, limit: float, unit: str = "", *, judged: bool = True) -> Line:
    """Return the line of a figure that must not be above a limit, judged or not."""
    holds = value <= limit if judged else None
    return Line(what, f"{value:.3g}{unit}", f"at most {limit:.4g}{unit}", holds)


def at_least(what: str, value: float, limit: float, *, judged: bool) -> Line:
    """Return the line of a figure that must not be below a limit, judged or not."""
    holds = value >= limit if judged else None
    return Line(what, f"{value:.3g}", f"at least {limit:g}", holds)


def none_of(what: str, n_checked: int, failed: list[str]) -> Line:
    """Return the line of cases that were checked, of which the failed ones are named."""
    found = f"{n_checked - len(failed)} of {n_checked}"
    if failed:
        more = "" if len(failed) <= 3 else f"; and {len(failed) - 3} more"
        found += f"; not {'; '.join(failed[:3])}{more}"
    return Line(what, found, f"{n_checked} of {n_checked}", not failed)
