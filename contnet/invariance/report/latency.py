"""The picture of accuracy over latency: a line for each set of weights."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.report.groups import by_scheme
from contnet.invariance.report.labels import Label, place_labels, settle
from contnet.invariance.report.legend import add_legend
from contnet.invariance.report.look import (
    draw_ring,
    hollow,
    scheme_look,
    short_name,
    statistics_handles,
    title,
)
from contnet.invariance.report.references import draw_references
from contnet.invariance.report.ticks import accuracy_axis, log_axis
from contnet.invariance.result import Figures, Result, measured
from contnet.invariance.study import Study
from contnet.look import WIDTH, verbatim

ONE = "one set of weights"

Point = tuple[float, float]
"""Latency in milliseconds per image, and accuracy."""

SET = "0.15"
"""The colour of a network that was trained in a set of manifestations. Others have that of their
scheme."""


def draw_latency(studies: Sequence[Study], references: Sequence[Study] = ()) -> Figure:
    """Draw accuracy over latency, with a line for each study and a point for each reference.

    A line joins the variants of one set of weights that no other one beats in both. For a network
    that was trained in a set of manifestations, these are of the set. The other variants of a
    single study are pale.
    """
    figure = Figure(figsize=(WIDTH, 4.9))
    figure.set_layout_engine("constrained")
    ax = figure.subplots()
    for study in studies:
        name = title(study).replace(", ", "\n", 1)
        _draw_line(ax, study, name if len(studies) > 1 else ONE)
    results = [r for study in studies for r in study.unprojected]
    for group in by_scheme(results):
        look = {**scheme_look(group.name), "linestyle": "", "markersize": 5}
        ax.plot([], [], label=verbatim(group.name), **look)
        if len(studies) == 1:
            places = [_place(figures) for _, figures in group.members]
            look |= hollow(recalibrated=group.recalibrated)
            ax.plot(*zip(*places, strict=True), alpha=0.35, zorder=2, **look)
    draw_references(ax, references, lambda reference: _place(reference.trained_figures)[0])
    for study in studies:
        draw_ring(ax, *_place(study.trained_figures))
    set_up_latencies(ax, [*studies, *references])
    if len(studies) == 1:
        ax.set_title(title(studies[0]), fontsize=9)
    add_legend(figure, statistics_handles(results) if len(studies) == 1 else ())
    settle(figure)
    _write_names(ax, studies, references)
    return figure


def _draw_line(ax: Axes, study: Study, label: str) -> None:
    """Draw the Pareto front of the variants of one set of weights."""
    front = _front(study)
    places = [_place(figures) for _, figures in front]
    width = 2.4 if study.has_training_set else 1.4
    colour = _colour(study)
    ax.plot(*zip(*places, strict=True), label=label, color=colour, linewidth=width, zorder=3)
    for (result, _), place in zip(front, places, strict=True):
        look = scheme_look(result.manifestation.name or "")
        look |= {"linestyle": "", "markersize": 7 if study.has_training_set else 5}
        ax.plot(*place, zorder=4, **look, **hollow(recalibrated=result.recalibrated))


def _colour(study: Study) -> str:
    name = study.trained.manifestation.name or ""
    return SET if study.has_training_set else str(scheme_look(name)["color"])


def _front(study: Study) -> list[tuple[Result, Figures]]:
    """Return the variants of a line, the quickest first."""
    shown = study.unprojected
    if study.has_training_set:
        shown = [r for r in shown if (r.seen or r.trained) and not r.recalibrated]
    front = pareto_front([_place(figures) for _, figures in measured(shown)])
    found = [one for one in measured(shown) if _place(one[1]) in front]
    return sorted(found, key=lambda one: one[1].latency_ms)


def _write_names(ax: Axes, studies: Sequence[Study], references: Sequence[Study]) -> None:
    """Write the manifestations next to the points, those of lines first."""
    fronts = [_front(study) for study in studies]
    labels = [
        Label(
            short_name(r), _place(f), _colour(study), "bold" if study.has_training_set else "normal"
        )
        for study, front in zip(studies, fronts, strict=True)
        for r, f in front
        if not r.recalibrated
    ]
    labels += [
        Label(short_name(r), _place(f), scheme_look(r.manifestation.name or "")["color"])
        for r, f in ((one.trained, one.trained_figures) for one in references)
    ]
    points = [_place(one.trained_figures) for one in references]
    points += [_place(figures) for front in fronts for _, figures in front]
    if len(studies) == 1:
        rest = [(r, f) for r, f in measured(studies[0].unprojected) if _place(f) not in points]
        points += [_place(f) for _, f in rest]
        labels += [Label(short_name(r), _place(f), "0.45") for r, f in rest if not r.recalibrated]
    place_labels(ax, labels, points, [[_place(f) for _, f in front] for front in fronts])


def _place(figures: Figures) -> Point:
    return figures.latency_ms, figures.accuracy


def set_up_latencies(ax: Axes, studies: Sequence[Study]) -> None:
    """Set up the axes of a picture of accuracy over latency."""
    ax.margins(0.1)  # room for names
    log_axis(ax, "x")
    accuracy_axis(ax)
    batch_sizes = sorted({study.trained_figures.batch_size for study in studies})
    of_several = {f.measured for study in studies for _, f in measured(study.results)}
    earlier = ", some measured in an earlier run" if len(of_several) > 1 else ""
    size = " or ".join(map(str, batch_sizes))
    ax.set_xlabel(f"latency (ms per image, batches of {size}{earlier})")


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Return the points (latency, accuracy) that no other point beats in both, cheapest first."""
    front: list[Point] = []
    for latency, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((latency, accuracy))
    return front
