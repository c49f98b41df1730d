"""The picture of the change of accuracy in each class."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.report.look import title
from contnet.invariance.study import Study

MAX_CLASSES = 40
"""The largest number of classes in a picture. If there are more, the least accurate are shown."""


def draw_classes(study: Study) -> Figure:
    """Draw the change of each class's accuracy against the training manifestation.

    The picture is a table of percentage points, with one row for each result that has figures.
    """
    base = study.class_accuracy[study.results.index(study.trained)]
    selected = base.argsort()[:MAX_CLASSES] if len(base) > MAX_CLASSES else range(len(base))
    classes = [int(c) for c in selected]
    rows = [(i, r) for i, r in enumerate(study.results) if r.figures and not r.trained]
    changes = [
        [100 * float(study.class_accuracy[i][c] - base[c]) for c in classes] for i, _ in rows
    ]
    figure = Figure(
        figsize=(2.6 + 0.55 * len(classes), 1.6 + 0.22 * len(rows)), layout="constrained"
    )
    ax = figure.subplots()
    _draw_table(figure, ax, changes)
    names = [str(study.subject.classes[c]) for c in classes]
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(rows)), [str(result) for _, result in rows], fontsize=7)
    ax.grid(visible=False)
    selection = f", the {len(names)} weakest classes" if len(base) > MAX_CLASSES else ""
    ax.set_title(f"change of accuracy per class{selection}\n{title(study)}", fontsize=9)
    return figure


def _draw_table(figure: Figure, ax: Axes, changes: Sequence[Sequence[float]]) -> None:
    bound = max((abs(value) for row in changes for value in row), default=1) or 1
    image = ax.imshow(changes, cmap="PuOr", vmin=-bound, vmax=bound, aspect="auto")
    for y, row in enumerate(changes):
        for x, value in enumerate(row):
            colour = "white" if abs(value) > 0.6 * bound else "black"
            text = f"{value:+.0f}" if round(value) else "0"
            ax.text(x, y, text, ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(image, label="percentage points against the training manifestation")
