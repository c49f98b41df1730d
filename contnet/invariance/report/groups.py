"""Groups of results that are drawn alike: equal scheme, or equal basis."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from contnet.invariance.result import Figures, Result, measured


@dataclass(frozen=True)
class Group:
    """Results that have figures, with a name in common.

    Args:
        name: name of their scheme or basis.
        recalibrated: True if batch norm was recalibrated in all of them, False if in none.
        members: the results, each with its figures.
    """

    name: str
    recalibrated: bool
    members: list[tuple[Result, Figures]]


def by_scheme(results: Iterable[Result]) -> list[Group]:
    """Group results by their schemes, in order of appearance."""
    return _by(lambda result: result.manifestation.name or "", results)


def by_basis(results: Iterable[Result]) -> list[Group]:
    """Group results by the names of their bases, in order of appearance."""
    return _by(lambda result: result.basis.name if result.basis else "several bases", results)


def _by(name_of: Callable[[Result], str], results: Iterable[Result]) -> list[Group]:
    groups: dict[tuple[str, bool], list[tuple[Result, Figures]]] = {}
    for result, figures in measured(results):
        members = groups.setdefault((name_of(result), result.recalibrated), [])
        members.append((result, figures))
    return [Group(name, recalibrated, members) for (name, recalibrated), members in groups.items()]
