"""The picture of a network's projections: accuracy over parameters and over latency."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.report.groups import Group, by_basis
from contnet.invariance.report.labels import Label, place_labels, settle
from contnet.invariance.report.latency import Point, pareto_front, set_up_latencies
from contnet.invariance.report.legend import add_legend
from contnet.invariance.report.look import (
    COUNTS,
    basis_look,
    draw_ring,
    hollow,
    short_effort,
    statistics_handles,
    title,
)
from contnet.invariance.report.references import draw_references
from contnet.invariance.report.ticks import log_axis
from contnet.invariance.result import measured
from contnet.invariance.study import Study
from contnet.look import WIDTH, verbatim


def draw_projection(study: Study, references: Sequence[Study] = ()) -> Figure:
    """Draw accuracy over parameters and over latency, for all bases and manifestations.

    In the left panel a line joins the results of each basis in the manifestation as trained. In the
    right panel numbers of nodes and steps stand next to the points on the Pareto front. References
    are crosses in both.
    """
    figure = Figure(figsize=(WIDTH, 4.2))
    figure.set_layout_engine("constrained")
    by_parameters, by_latency = figure.subplots(1, 2, sharey=True)
    for group in by_basis(study.results):
        _draw_over_latency(by_latency, group)
        _draw_over_parameters(by_parameters, group, study)
    draw_references(by_parameters, references, lambda one: one.trained.parameters)
    draw_references(by_latency, references, lambda one: one.trained_figures.latency_ms)
    draw_ring(by_parameters, study.trained.parameters, study.trained_figures.accuracy)
    draw_ring(by_latency, study.trained_figures.latency_ms, study.trained_figures.accuracy)
    front = _draw_front(by_latency, study)
    _set_up(by_parameters, by_latency, study, references)
    add_legend(figure, statistics_handles(study.results))
    figure.suptitle(
        f"{title(study)}\nprojected without training (numbers: nodes/steps)", fontsize=8
    )
    settle(figure)
    _write_names(by_latency, study, front)
    return figure


def _look(group: Group) -> dict[str, Any]:
    return {**basis_look(group.name), **hollow(recalibrated=group.recalibrated), "markersize": 5}


def _draw_over_latency(ax: Axes, group: Group) -> None:
    points = [(figures.latency_ms, figures.accuracy) for _, figures in group.members]
    name = verbatim(group.name)
    ax.plot(*zip(*points, strict=True), linestyle="", label=name, **_look(group))


def _draw_over_parameters(ax: Axes, group: Group, study: Study) -> None:
    points = [(result.parameters, figures.accuracy) for result, figures in group.members]
    ax.plot(*zip(*points, strict=True), linestyle="", **_look(group))
    as_trained = sorted(
        (result.parameters, figures.accuracy)
        for result, figures in group.members
        if result.manifestation == study.trained.manifestation
    )
    ax.plot(
        [n_parameters for n_parameters, _ in as_trained],
        [accuracy for _, accuracy in as_trained],
        color=basis_look(group.name)["color"],
        linestyle=":" if group.recalibrated else "-",
        linewidth=1,
    )


def _draw_front(ax: Axes, study: Study) -> list[Point]:
    front = pareto_front([(f.latency_ms, f.accuracy) for _, f in measured(study.results)])
    look: Any = {"color": "0.45", "linewidth": 1, "drawstyle": "steps-post", "zorder": 1}
    ax.plot(*zip(*front, strict=True), label="nothing is quicker and better", **look)
    return front


def _set_up(
    by_parameters: Axes, by_latency: Axes, study: Study, references: Sequence[Study]
) -> None:
    set_up_latencies(by_latency, [study, *references])
    by_latency.set_ylabel("")
    by_latency.set_xlabel(by_latency.get_xlabel().replace(" (", "\n("))
    by_parameters.margins(x=0.1)
    log_axis(by_parameters, "x")
    by_parameters.xaxis.set_major_formatter(COUNTS)
    by_parameters.set_xlabel(f"parameters\n(lines: {verbatim(str(study.trained.manifestation))})")
    by_parameters.set_ylabel("test accuracy (%)")


def _write_names(ax: Axes, study: Study, front: Sequence[Point]) -> None:
    drawn = [(r, (f.latency_ms, f.accuracy)) for r, f in measured(study.results)]
    labels = [
        Label(f"{result.basis.n_basis}/{short_effort(result)}", place, "0.15")
        for result, place in drawn
        if place in front and result.basis is not None
    ]
    place_labels(ax, labels, [place for _, place in drawn])
