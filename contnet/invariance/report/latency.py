"""The picture of accuracy over latency, and the line of one set of weights in it."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from contnet.invariance.report.grid import draw_grid
from contnet.invariance.report.groups import by_scheme
from contnet.invariance.report.labels import Label, place_labels
from contnet.invariance.report.look import (
    draw_ring,
    hollow,
    label,
    scheme_look,
    short_effort,
    short_name,
)
from contnet.invariance.report.references import draw_references
from contnet.invariance.result import Figures, Result, measured
from contnet.invariance.study import Study
from contnet.look import PLAIN

Point = tuple[float, float]
"""Latency in milliseconds per image, and accuracy."""

LINE: Any = {"color": "0.15", "linewidth": 2.2, "zorder": 2}
"""The look of the line of one set of weights."""


def draw_latency(studies: Sequence[Study], references: Sequence[Study] = ()) -> Figure:
    """Draw accuracy over latency, with a panel for each study and a point for each variant.

    A line joins the variants that no other one beats in both. For a network that was trained in a
    set of manifestations, it joins those of the set, and all others are pale. References are points
    with their names.
    """
    return draw_grid(
        studies,
        partial(_draw, references=references),
        partial(_write_names, references=references),
    )


def _draw(study: Study, ax: Axes, references: Sequence[Study]) -> None:
    if study.has_training_set:
        _draw_line_of_set(ax, study)
    draw_references(ax, references, lambda reference: _place(reference.trained_figures)[0])
    for group in by_scheme(study.unprojected):
        look = {**scheme_look(group.name), **hollow(recalibrated=group.recalibrated)}
        look |= {"linestyle": "", "markersize": 5}
        ax.plot([], [], label=label(group.name, recalibrated=group.recalibrated), **look)
        pale = 0.3 if study.has_training_set else 1
        places = [_place(figures) for _, figures in group.members]
        ax.plot(*zip(*places, strict=True), alpha=pale, **look)
    if study.has_training_set:
        _set_up(ax, study)
    else:
        draw_front(ax, study, study.unprojected)


def _draw_line_of_set(ax: Axes, study: Study) -> None:
    """Draw the Pareto front of the manifestations that a network was trained in."""
    front = _front_of_set(study)
    places = [_place(figures) for _, figures in front]
    ax.plot(*zip(*places, strict=True), label="one set of weights", **LINE)
    for (result, _), place in zip(front, places, strict=True):
        look = scheme_look(result.manifestation.name or "")
        ax.plot(*place, color=look["color"], marker=look["marker"], markersize=7, zorder=3)


def _front_of_set(study: Study) -> list[tuple[Result, Figures]]:
    seen = measured(r for r in study.unprojected if r.seen and not r.recalibrated)
    front = pareto_front([_place(figures) for _, figures in seen])
    return sorted(
        (one for one in seen if _place(one[1]) in front), key=lambda one: one[1].latency_ms
    )


def _write_names(study: Study, ax: Axes, references: Sequence[Study]) -> None:
    """Write the names of the references into a panel, and those of the line, or of all points."""
    drawn = measured(study.unprojected)
    others = [(reference.trained, reference.trained_figures) for reference in references]
    front = _front_of_set(study) if study.has_training_set else []
    labels = [Label(short_name(r), _place(f), LINE["color"], "bold") for r, f in front]
    labels += [
        Label(short_name(r), _place(f), scheme_look(r.manifestation.name or "")["color"])
        for r, f in others
    ]
    if not front:
        labels += [
            Label(short_effort(r), _place(f), "0.35") for r, f in drawn if not r.recalibrated
        ]
    points = [_place(figures) for _, figures in (*drawn, *others)]
    place_labels(ax, labels, points, [_place(figures) for _, figures in front])


def _place(figures: Figures) -> Point:
    return figures.latency_ms, figures.accuracy


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
    draw_ring(ax, study.trained_figures.latency_ms, study.trained_figures.accuracy)
    _set_up(ax, study)
    return front


def _set_up(ax: Axes, study: Study) -> None:
    ax.set_xscale("log")
    ax.margins(0.1)  # room for names
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    ax.xaxis.set_major_formatter(PLAIN)
    ax.xaxis.set_minor_formatter(NullFormatter())
    batch_size = study.trained_figures.batch_size
    ax.set_xlabel(f"latency (ms per image, batches of {batch_size})")


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Return the points (latency, accuracy) that no other point beats in both, cheapest first."""
    front: list[Point] = []
    for latency, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((latency, accuracy))
    return front
