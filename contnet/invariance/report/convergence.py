"""The picture of the convergence of a network's ODE blocks."""

from collections.abc import Sequence
from math import isfinite

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.convergence import Convergence
from contnet.invariance.report.look import scheme_look, title
from contnet.invariance.study import Study
from contnet.look import PLAIN


def draw_convergence(study: Study) -> Figure:
    """Draw the errors of each ODE block over the number of steps, with a panel for each block.

    A number at the end of each curve is its observed order. A thin line
    shows the order of its scheme.
    """
    blocks = sorted({found.block for found in study.convergence})
    figure = Figure(figsize=(1.6 + 3.4 * len(blocks), 3.9), layout="constrained")
    axes = figure.subplots(1, len(blocks), squeeze=False, sharey=True)[0]
    for ax, block in zip(axes, blocks, strict=True):
        of_block = [found for found in study.convergence if found.block == block]
        for found in of_block:
            _draw_curve(ax, found)
        _set_up(ax, of_block)
        ax.set_ylim(_limits(study.convergence))
        ax.set_title(f"ODE block {block}", fontsize=9)
    axes[0].set_ylabel("relative error of x(1)")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", title="scheme")
    legend = "numbers: slope over the asymptotic range; thin lines: each scheme's order"
    figure.suptitle(f"{title(study)}\n{legend}", fontsize=9)
    return figure


def _draw_curve(ax: Axes, found: Convergence) -> None:
    look = scheme_look(found.scheme)
    ax.plot(found.n_time_steps, found.errors, markersize=4, label=found.scheme, **look)
    n, error = found.n_time_steps[-1], found.errors[-1]
    if not _is_drawn(error):
        return
    ideal = [error * (n / m) ** found.order for m in found.n_time_steps]
    ax.plot(found.n_time_steps, ideal, color=look["color"], linewidth=0.6, alpha=0.6)
    ax.annotate(
        "none" if found.slope is None else f"{found.slope:.2f}",
        (n, error),
        color=look["color"],
        fontsize=7,
        xytext=(5, -3),
        textcoords="offset points",
    )


def _set_up(ax: Axes, of_block: Sequence[Convergence]) -> None:
    n_time_steps = of_block[0].n_time_steps
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlim(right=2 * n_time_steps[-1])
    ax.set_xticks(n_time_steps)
    ax.xaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("n_time_steps")


def _limits(convergence: Sequence[Convergence]) -> tuple[float, float]:
    """Return the limits of the axis of errors, which all panels share."""
    errors = [error for found in convergence for error in found.errors if _is_drawn(error)]
    return min(errors, default=1e-16) / 5, max(errors, default=1) * 5


def _is_drawn(error: float) -> bool:
    """Return True for an error that has a place on a logarithmic axis."""
    return isfinite(error) and error > 0
