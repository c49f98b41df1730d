"""The picture of accuracy over latency, and the Pareto front in it."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from contnet.invariance.report.grid import draw_grid
from contnet.invariance.report.groups import by_scheme
from contnet.invariance.report.look import (
    PLAIN,
    draw_ring,
    hollow,
    label,
    scheme_look,
    short_effort,
)
from contnet.invariance.result import Result, measured
from contnet.invariance.study import Study

Point = tuple[float, float]
"""Latency in milliseconds per image, and accuracy."""


def draw_latency(studies: Sequence[Study]) -> Figure:
    """Draw accuracy over latency, with a panel for each study and a point for each variant."""
    return draw_grid(studies, _draw)


def _draw(study: Study, ax: Axes) -> None:
    for group in by_scheme(study.unprojected):
        points = [(figures.latency_ms, figures.accuracy) for _, figures in group.members]
        look = {**scheme_look(group.name), **hollow(recalibrated=group.recalibrated)}
        look |= {"linestyle": "", "markersize": 5}
        name = label(group.name, recalibrated=group.recalibrated)
        ax.plot(*zip(*points, strict=True), label=name, **look)
        for (result, _), point in zip(group.members, points, strict=True):
            if not group.recalibrated:
                ax.annotate(
                    short_effort(result),
                    point,
                    color="0.35",
                    fontsize=6,
                    xytext=(4, -8),
                    textcoords="offset points",
                )
    draw_front(ax, study, study.unprojected)


def draw_front(ax: Axes, study: Study, results: Sequence[Result]) -> list[Point]:
    """Draw the Pareto front of results, the ring as trained and an axis of latencies.

    Returns:
        The points of the front.
    """
    front = pareto_front(
        [(figures.latency_ms, figures.accuracy) for _, figures in measured(results)]
    )
    ax.plot(
        *zip(*front, strict=True),
        label="Pareto front",
        color="0.45",
        linewidth=1,
        drawstyle="steps-post",
        zorder=1,
    )
    trained = study.trained_figures
    draw_ring(ax, trained.latency_ms, trained.accuracy)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    ax.xaxis.set_major_formatter(PLAIN)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(f"latency (ms per image, batches of {trained.batch_size})")
    return front


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Return the points (latency, accuracy) that no other point beats in both, cheapest first."""
    front: list[Point] = []
    for latency, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((latency, accuracy))
    return front
