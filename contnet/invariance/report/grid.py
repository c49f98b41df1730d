"""Pictures with one panel for each network, of test accuracy over something else."""

from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.report.legend import add_legend
from contnet.invariance.report.look import title
from contnet.invariance.report.ticks import accuracy_axis
from contnet.invariance.study import Study
from contnet.look import WIDTH

MAX_COLUMNS = 2
"""Panels beside each other. More could not be read at 600 pixels."""


def draw_grid(
    studies: Sequence[Study],
    draw: Callable[[Study, Axes], None],
    extra: Iterable[tuple[Any, str]] = (),
) -> Figure:
    """Return a figure in which `draw` has filled one panel for each study.

    `extra` are further handles of the legend, each with its label.
    """
    columns = min(len(studies), MAX_COLUMNS)
    rows = ceil(len(studies) / columns)
    figure = Figure(figsize=(WIDTH, 1.2 + (3.4 if columns == 1 else 2.7) * rows))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for study, ax in zip(studies, axes.flat, strict=False):
        draw(study, ax)
        ax.tick_params(labelleft=True)
        heading = title(study)
        ax.set_title(heading if columns == 1 else heading.replace(", ", "\n", 1), fontsize=8)
    for number, ax in enumerate(axes.flat):
        if number < len(studies):
            accuracy_axis(ax)
            ax.set_ylabel("" if number % columns else ax.get_ylabel())
        else:
            ax.remove()
    add_legend(figure, extra)
    return figure
