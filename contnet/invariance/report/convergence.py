"""The picture of the convergence of a network's ODE blocks."""

from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.convergence import Convergence
from contnet.invariance.report.labels import Label, place_labels, settle
from contnet.invariance.report.legend import add_legend
from contnet.invariance.report.look import scheme_look, title
from contnet.invariance.report.ticks import finite, log_axis, steps_axis
from contnet.invariance.study import Study
from contnet.look import WIDTH, verbatim

MAX_COLUMNS = 3

ROOM = 4
"""Labels of steps that a panel has room for."""


def draw_convergence(study: Study) -> Figure:
    """Draw the errors of each ODE block over the number of steps, with a panel for each block.

    A number at the end of each curve is its observed order. A thin line shows the order of its
    scheme.
    """
    blocks = sorted({found.block for found in study.convergence})
    columns = min(len(blocks), MAX_COLUMNS)
    rows = ceil(len(blocks) / columns)
    figure = Figure(figsize=(WIDTH, 1.4 + 2.8 * rows))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for number, ax in enumerate(axes.flat):
        if number < len(blocks):
            found = [one for one in study.convergence if one.block == blocks[number]]
            _draw_block(ax, found, study.convergence)
            ax.set_ylabel("" if number % columns else "relative error of x(1)")
        else:
            ax.remove()
    add_legend(figure)
    legend = "numbers: slope where the curve is straight; thin lines: order of the scheme"
    figure.suptitle(f"{title(study)}\n{legend}", fontsize=8)
    settle(figure)
    for ax, block in zip(axes.flat, blocks, strict=False):
        _write_slopes(ax, [one for one in study.convergence if one.block == block])
    return figure


def _draw_block(
    ax: Axes, of_block: Sequence[Convergence], all_of_them: Sequence[Convergence]
) -> None:
    for found in of_block:
        look = scheme_look(found.scheme)
        name = verbatim(found.scheme)
        ax.plot(found.n_time_steps, found.errors, markersize=4, label=name, **look)
        if finite(found.errors[-1:]):
            n, error = found.n_time_steps[-1], found.errors[-1]
            ideal = [error * (n / m) ** found.order for m in found.n_time_steps]
            ax.plot(found.n_time_steps, ideal, color=look["color"], linewidth=0.6, alpha=0.6)
    steps_axis(ax, of_block[0].n_time_steps, ROOM)
    ax.set_xlim(right=6 * of_block[0].n_time_steps[-1])  # room for the slopes
    log_axis(ax, "y")
    errors = finite(error for found in all_of_them for error in found.errors)
    ax.set_ylim(min(errors, default=1e-16) / 5, max(errors, default=1) * 5)
    ax.set_title(f"ODE block {of_block[0].block}", fontsize=8)


def _write_slopes(ax: Axes, of_block: Sequence[Convergence]) -> None:
    drawn = [found for found in of_block if finite(found.errors[-1:])]
    labels = [
        Label(
            "none" if found.slope is None else f"{found.slope:.2f}",
            (found.n_time_steps[-1], found.errors[-1]),
            scheme_look(found.scheme)["color"],
        )
        for found in drawn
    ]
    curves = [
        [(n, e) for n, e in zip(found.n_time_steps, found.errors, strict=True) if finite([e])]
        for found in drawn
    ]
    place_labels(ax, labels, [label.point for label in labels], curves)
