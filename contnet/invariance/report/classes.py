"""The picture of the change of accuracy in each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.report.look import title
from contnet.invariance.result import Result
from contnet.invariance.study import Study
from contnet.look import WIDTH, verbatim

MAX_CLASSES = 16
"""The largest number of classes in a picture. If there are more, those that change most."""

MAX_ROWS = 60
"""The largest number of variants in a picture. If there are more, those that change most."""

LONGEST_CLASS = 18
"""The letters of a class from which on its name is cut."""


@dataclass(frozen=True)
class ClassMap:
    """The changes of accuracy against the network as trained, in percentage points.

    Args:
        results: the variants, one for each row.
        classes: the names of the classes, one for each column.
        changes: (len(results), len(classes)).
        left_out: what is left out, in words.
    """

    results: Sequence[Result]
    classes: Sequence[str]
    changes: np.ndarray
    left_out: Sequence[str]


def class_map(study: Study) -> ClassMap:
    """Return the changes of a study; variants that change no class by half a point are left out."""
    base = study.class_accuracy[study.results.index(study.trained)]
    others = [i for i, result in enumerate(study.results) if result.figures and not result.trained]
    changes = 100 * (study.class_accuracy[others] - base).double().numpy()
    largest = np.nan_to_num(np.abs(changes))  # a class without images has no accuracy
    per_row = np.round(largest).max(axis=1, initial=0)
    rows = _largest(per_row, min(MAX_ROWS, int((per_row > 0).sum())))
    columns = _largest(largest[rows].max(axis=0, initial=0), MAX_CLASSES)
    left_out = []
    if len(columns) < len(base):
        left_out.append(f"{len(columns)} of {len(base)} classes, those that change most")
    if (unchanged := len(others) - int((per_row > 0).sum())) > 0:
        left_out.append(f"without {unchanged} of {len(others)} variants that change no class")
    if len(rows) == MAX_ROWS:
        left_out.append(f"the {MAX_ROWS} variants that change most")
    return ClassMap(
        [study.results[others[i]] for i in rows],
        [str(study.subject.classes[i]) for i in columns],
        changes[np.ix_(rows, columns)],
        left_out,
    )


def _largest(values: np.ndarray, count: int) -> list[int]:
    """Return the places of the `count` largest values, in order of the places."""
    return sorted(np.argsort(-values, kind="stable")[:count].tolist())


def draw_classes(study: Study) -> Figure | None:
    """Draw the change of each class's accuracy; return None if no class changes.

    The picture is a table of percentage points, with one row for each result.
    """
    found = class_map(study)
    if not found.results:
        return None
    rows = [_row_name(result) for result in found.results]
    height = sum(0.2 + 0.13 * name.count("\n") for name in rows)
    figure = Figure(figsize=(WIDTH, 2.1 + height), layout="constrained")
    ax = figure.subplots()
    _draw_table(figure, ax, found.changes)
    names = [_cut(name) for name in found.classes]
    upright = max(map(len, names)) > 32 / len(names)
    ax.set_xticks(range(len(names)), names, rotation=90 if upright else 0, fontsize=7.5)
    ax.set_yticks(range(len(rows)), rows, fontsize=7.5)
    ax.grid(visible=False)
    heading = [title(study), "change of accuracy per class", *found.left_out]
    figure.suptitle("\n".join(heading), fontsize=8)
    return figure


def _row_name(result: Result) -> str:
    """Return the name of a variant, in two lines if it is projected."""
    basis = (
        f"{result.basis.name} {result.basis.n_basis},\n"
        if result.projected and result.basis
        else ""
    )
    more = " recal." if result.recalibrated else ""
    manifestation = result.manifestation
    return verbatim(f"{basis}{manifestation.name} {manifestation.effort}{more}")


def _cut(name: str) -> str:
    return verbatim(name if len(name) <= LONGEST_CLASS else f"{name[: LONGEST_CLASS - 1]}…")


def _draw_table(figure: Figure, ax: Axes, changes: np.ndarray) -> None:
    bound = np.nanmax(np.abs(changes))
    image = ax.imshow(changes, cmap="PuOr", vmin=-bound, vmax=bound, aspect="auto")
    for (y, x), value in np.ndenumerate(changes):
        colour = "white" if abs(value) > 0.6 * bound else "black"
        text = "" if np.isnan(value) else f"{value:+.0f}" if round(value) else "0"
        ax.text(x, y, text, ha="center", va="center", fontsize=7.5, color=colour)
    bar = figure.colorbar(image, orientation="vertical", fraction=0.05, pad=0.02)
    bar.set_ticks([-bound, 0, bound], labels=[f"{-bound:.0f}", "0", f"+{bound:.0f}"], fontsize=7.5)
    bar.set_label("percentage points", fontsize=8)
