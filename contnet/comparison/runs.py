"""What training runs and evaluations have left in folders, found and read."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contnet.comparison.files import DamagedError, csv_of, json_of, number, printable
from contnet.comparison.settings import Settings, settings_of
from contnet.errors import ConfigError
from contnet.runs.folder import RECORD, RESULT

METRICS = Path("metrics.csv")
"""The figures of each epoch of a run."""

EVALUATION = Path("invariance.json")
"""The figures of an evaluation."""

LOOKED_FOR = f"a folder with {RESULT}, {EVALUATION} or {RECORD}, or one around such folders"

FACTS = ("test_images", "test_digest", "precision", "stopped_by")
"""What a result states besides figures, in which repetitions of a run may not differ."""

SHOWN = 12
"""Characters of a fact: enough to tell digests apart."""

OTHERS = {"predict.log", "export.log"}
"""Logs of commands that leave no figures to compare."""


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Args:
        folder: its folder.
        settings: its settings, and the facts about its images and its end.
        figures: the numbers in its result, by name.
        machine: the machine that trained it; None if that is not recorded.
        overrides: its command line.
        epochs: the numbers of each epoch, by name; empty if they are not recorded.
    """

    folder: Path
    settings: Settings
    figures: Mapping[str, float]
    machine: str | None
    overrides: tuple[str, ...]
    epochs: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class LeftOut:
    """A folder that gives no figures, and why."""

    folder: Path
    reason: str

    def __str__(self) -> str:
        return f"left out: {printable(self.folder)}: {printable(self.reason)}"


def find(names: Sequence[str | Path]) -> tuple[list[Path], list[LeftOut]]:
    """Return the folders of runs and evaluations that names stand for, without repetition.

    Args:
        names: folders of runs or evaluations, folders around them, and patterns such as
            `outputs/*/*`. Other files among them, which a shell's pattern may give, do not count.

    Returns:
        the folders, job 10 of a sweep after job 9, and the named folders that hold none.

    Raises:
        ConfigError: if a name is no folder and no pattern of any, or no run is found at all.
    """
    found: dict[Path, Path] = {}
    empty = []
    for name in map(str, names):
        for path in _matches(name):
            inside = sorted(_inside(path), key=with_numbers)
            found |= {
                folder.resolve(): folder for folder in inside if folder.resolve() not in found
            }
            if not inside and path.is_dir():
                empty.append(LeftOut(path, "no run is there"))
    if not found:
        at = ", ".join(printable(repr(str(name))) for name in names[:3])
        raise ConfigError(f"no run found at {at}; a run is {LOOKED_FOR}")
    return list(found.values()), empty


def read(folder: Path) -> Run:
    """Read the training run in a folder.

    Raises:
        DamagedError: if it has not finished, has failed, or a file of it is damaged.
    """
    result = json_of(folder / RESULT)
    if result is None:
        raise DamagedError(f"unfinished{_progress(folder)}")
    if not isinstance(result, dict):
        raise DamagedError(f"{RESULT} is damaged")
    if "error" in result:
        raise DamagedError(f"failed: {printable(result['error'])}")
    overrides = result.get("overrides")
    if not isinstance(overrides, list | None):
        raise DamagedError(f"{RESULT} is damaged")
    figures = {str(name): number(value) for name, value in result.items()}
    if not any(name in figures for name in ("test_accuracy", "train_accuracy", "parameters")):
        raise DamagedError(f"{RESULT} is not of a training")
    settings = settings_of(folder, overrides)
    epochs = csv_of(folder / METRICS)
    evaluations = [epoch["n_f_evals"] for epoch in epochs if "n_f_evals" in epoch]
    if evaluations and figures.get("n_f_evals") is None:
        figures["n_f_evals"] = evaluations[-1]
    return Run(
        folder,
        replace(settings, facts=_facts(result)),
        {name: value for name, value in figures.items() if value is not None},
        printable(result["machine"]) if result.get("machine") else None,
        tuple(map(str, overrides or [])),
        epochs,
    )


def with_numbers(path: Path) -> list[Any]:
    """Return a key that sorts job 10 after job 9."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _matches(name: str) -> list[Path]:
    path = Path(name).expanduser()
    try:
        if path.exists():
            return [path]
    except OSError as error:
        raise ConfigError(f"{printable(repr(name))} cannot be read: {error.strerror}") from error
    if set("*?[") & set(name):
        matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        found = sorted(matches, key=with_numbers)
        if found:
            return found
    raise ConfigError(f"no run found at {printable(repr(name))}; a run is {LOOKED_FOR}")


def _inside(path: Path) -> Iterator[Path]:
    """Yield the folders of runs and evaluations at and below a path."""
    if path.name in (str(RESULT), str(EVALUATION)):
        yield path.parent
    for folder, folders, files in os.walk(path):
        is_of_another = OTHERS & set(files)
        if {str(RESULT), str(EVALUATION)} & set(files) or (
            str(RECORD) in folders and not is_of_another
        ):
            yield Path(folder)
        folders[:] = [name for name in folders if name not in ("checkpoints", str(RECORD))]


def _progress(folder: Path) -> str:
    """Return how far an unfinished run has come, as far as that is recorded."""
    try:
        n_epochs = sum("train_loss" in epoch for epoch in csv_of(folder / METRICS))
    except DamagedError:
        return ""
    return f", {n_epochs} {'epoch' if n_epochs == 1 else 'epochs'} done" if n_epochs else ""


def _facts(result: dict[str, Any]) -> dict[str, str]:
    unreadable = result.get("unreadable_images")
    facts = {name: result[name] for name in FACTS if result.get(name) is not None}
    if isinstance(unreadable, dict) and unreadable.get("test"):
        facts["unreadable_test_images"] = unreadable["test"]
    facts.setdefault("stopped_by", "-")
    facts.setdefault("unreadable_test_images", 0)
    return {name: printable(value)[:SHOWN] for name, value in facts.items()}
