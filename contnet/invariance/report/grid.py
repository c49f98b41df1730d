"""Pictures with one panel for each network, of test accuracy over something else."""

from collections.abc import Callable, Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.report.look import title
from contnet.invariance.study import Study
from contnet.look import PERCENT

MAX_COLUMNS = 3


def draw_grid(
    studies: Sequence[Study],
    draw: Callable[[Study, Axes], None],
    finish: Callable[[Study, Axes], None] = lambda study, ax: None,
) -> Figure:
    """Return a figure in which `draw` has filled one panel for each study.

    `finish` is called for each panel when all of them have their final sizes and limits.
    """
    columns = min(len(studies), MAX_COLUMNS)
    rows = ceil(len(studies) / columns)
    figure = Figure(figsize=(1.2 + 4.4 * columns, 0.6 + 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for study, ax in zip(studies, axes.flat, strict=False):
        draw(study, ax)
        ax.set_title(title(study), fontsize=9)
        ax.yaxis.set_major_formatter(PERCENT)
        ax.set_ylabel("test accuracy (%)")
        ax.tick_params(labelleft=True)
    for ax in list(axes.flat)[len(studies) :]:
        ax.remove()
    _add_legend(figure)
    figure.draw_without_rendering()
    for study, ax in zip(studies, axes.flat, strict=False):
        finish(study, ax)
    return figure


def _add_legend(figure: Figure) -> None:
    """Add a legend that names each label of any panel once."""
    handles = {
        label: handle
        for ax in figure.axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center")
