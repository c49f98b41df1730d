"""Runs in groups: those that differ in nothing but the seed are repetitions of each other."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from contnet.comparison.runs import FACTS, Run
from contnet.comparison.settings import NOT_SET, is_compared
from contnet.runs.rounding import Figure

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

TIMES = ("train_seconds", "images_per_second")
"""Figures that are of a machine."""

COMPOSES_ALL = {"experiment", "debug"}
"""Groups whose options set keys of all other groups."""

DATA = {"dataset", "dataset.root", "dataset._target_", "dataset.image_size"}
TEST_IMAGES = {"test_images", "test_digest", "unreadable_test_images"}


@dataclass(frozen=True)
class Group:
    """Runs that are repetitions of each other.

    Args:
        settings: their values of the settings in which groups differ.
        runs: the runs.
    """

    settings: Mapping[str, str]
    runs: tuple[Run, ...]

    @property
    def machines(self) -> list[str]:
        """The machines that trained them."""
        return list(dict.fromkeys(run.machine or "not recorded" for run in self.runs))

    def figure(self, name: str) -> Figure | None:
        """Return mean and standard deviation of a figure, or None if it is not known.

        Seconds and images per second of several machines have no mean, and are None.
        """
        if name in TIMES and len(self.machines) > 1:
            return None
        return Figure.of([run.figures[name] for run in self.runs if name in run.figures])


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return items by their keys, in order of appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def group(runs: Sequence[Run]) -> tuple[dict[str, str], list[Group]]:
    """Return the settings that somebody typed and all runs share, and the groups of runs.

    Groups differ in settings that somebody typed. They also differ in a default that has changed
    between runs, unless an option of a group that differs explains it, and in what the results
    state about the test images. What a record does not state makes no difference.
    """
    keys = [key for run in runs for key in run.settings.typed if is_compared(key)]
    values = _values(runs, sorted(dict.fromkeys(keys), key=lambda key: "." in key))
    shared = {key: values[key][0] for key in dict.fromkeys(keys) if len(set(values[key])) == 1}
    differing = [key for key in dict.fromkeys(keys) if key not in shared]
    changed = set()
    for part in _parts(range(len(runs)), values, differing).values():
        changed |= _changed([runs[i] for i in part], values)
    if not COMPOSES_ALL & set(differing):
        explained = (*differing, *FACTS, *TEST_IMAGES)
        changed |= {key for key in _changed(runs, values) if key.partition(".")[0] not in explained}
    values |= {key: [run.settings.value(key) for run in runs] for key in changed}
    differing += sorted(changed)
    return shared, [
        Group(dict(zip(differing, found, strict=True)), tuple(runs[i] for i in members))
        for found, members in _parts(range(len(runs)), values, differing).items()
    ]


def obstacles(groups: Sequence[Group]) -> list[str]:
    """Return why figures of some runs are not averaged, or not to be compared, line by line."""
    lines = []
    differing = list(groups[0].settings) if groups else []
    data = [key for key in differing if key in DATA | TEST_IMAGES]
    if data:
        lines.append(
            "accuracies on different images are not averaged, nor to be compared: "
            f"{', '.join(data)} differ"
        )
    machines = machines_of(groups)
    if len(machines) > 1:
        named = "; ".join(f"{number} is {name}" for number, name in enumerate(machines, 1))
        lines.append(f"seconds and images/s of different machines are not averaged: {named}")
    return lines


def machines_of(groups: Sequence[Group]) -> list[str]:
    """Return the machines of all groups, in order of appearance."""
    return list(dict.fromkeys(machine for one in groups for machine in one.machines))


def _parts(
    runs: Iterable[int], values: Mapping[str, Sequence[str]], keys: Sequence[str]
) -> dict[tuple[str, ...], list[int]]:
    """Return the numbers of the runs by their values of some keys."""
    return grouped(runs, lambda i: tuple(values[key][i] for key in keys))


def _values(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, list[str]]:
    """Return the value of each key in each run; `keys` has groups before the keys in them.

    A run may be older than a key. It then has the value of the runs that have left the key at its
    default, if that is one and the same in all that chose the same option of the key's group.
    """
    values: dict[str, list[str]] = {}
    for key in keys:
        found = [run.settings.value(key) for run in runs]
        group_of = key.partition(".")[0]
        options = values.get(group_of) or [run.settings.value(group_of) for run in runs]
        defaults: dict[str, set[str]] = {}
        for run, option, value in zip(runs, options, found, strict=True):
            if key not in run.settings.typed and value != NOT_SET:
                # A group is not in a group.
                defaults.setdefault(option if "." in key else "", set()).add(value)
        for i, run in enumerate(runs):
            known = defaults.get(options[i] if "." in key else "", set())
            if found[i] == NOT_SET and key not in run.settings.typed and len(known) == 1:
                (found[i],) = known
        values[key] = found
    return values


def _changed(runs: Sequence[Run], typed: Iterable[str]) -> set[str]:
    """Return the keys that nobody typed and of which records of the runs state several values."""
    recorded = [(run.settings.config, run.settings.choices, run.settings.facts) for run in runs]
    keys = {key for parts in recorded for part in parts for key in part}
    return {
        key
        for key in keys - set(typed)
        if is_compared(key)
        and not key.startswith("logger")
        and len({run.settings.known(key) for run in runs} - {None}) > 1
    }
