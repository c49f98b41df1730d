"""The picture of a network's projections: accuracy over parameters and over latency."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from contnet.invariance.report.groups import Group, by_basis
from contnet.invariance.report.latency import draw_front
from contnet.invariance.report.look import (
    MILLIONS,
    basis_look,
    draw_ring,
    hollow,
    label,
    short_effort,
    title,
)
from contnet.invariance.report.references import draw_references
from contnet.invariance.result import measured
from contnet.invariance.study import Study
from contnet.look import PERCENT


def draw_projection(study: Study, references: Sequence[Study] = ()) -> Figure:
    """Draw accuracy over parameters and over latency, for all bases and manifestations.

    In the left panel a line joins the results of each basis in the manifestation as trained. In the
    right panel numbers of nodes and steps stand next to the points on the Pareto front. References
    are crosses in both.
    """
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    by_parameters, by_latency = figure.subplots(1, 2, sharey=True)
    for group in by_basis(study.results):
        _draw_over_latency(by_latency, group)
        _draw_over_parameters(by_parameters, group, study)
    draw_references(by_parameters, references, lambda one: one.trained.parameters)
    draw_references(by_latency, references, lambda one: one.trained_figures.latency_ms)
    _set_up_parameters(by_parameters, study)
    _draw_priced_front(by_latency, study)
    figure.legend(*by_latency.get_legend_handles_labels(), loc="outside right center")
    heading = f"{title(study)}; projected without training (numbers: nodes/steps)"
    figure.suptitle(heading, fontsize=9)
    return figure


def _look(group: Group) -> dict[str, Any]:
    return {**basis_look(group.name), **hollow(recalibrated=group.recalibrated), "markersize": 5}


def _draw_over_latency(ax: Axes, group: Group) -> None:
    points = [(figures.latency_ms, figures.accuracy) for _, figures in group.members]
    name = label(group.name, recalibrated=group.recalibrated)
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


def _set_up_parameters(ax: Axes, study: Study) -> None:
    draw_ring(ax, study.trained.parameters, study.trained_figures.accuracy)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted({result.parameters for result in study.results}))
    ax.xaxis.set_major_formatter(MILLIONS)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.tick_params(axis="x", rotation=45)
    ax.yaxis.set_major_formatter(PERCENT)
    ax.set_xlabel(f"parameters; lines: with {study.trained.manifestation}")
    ax.set_ylabel("test accuracy (%)")


def _draw_priced_front(ax: Axes, study: Study) -> None:
    front = draw_front(ax, study, study.results)
    for result, figures in measured(study.results):
        point = (figures.latency_ms, figures.accuracy)
        if point in front and result.basis is not None:
            ax.annotate(
                f"{result.basis.n_basis}/{short_effort(result)}",
                point,
                fontsize=7,
                xytext=(5, 4),
                textcoords="offset points",
            )
