"""The picture of accuracy over the number of steps."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contnet.invariance.report.grid import MAX_COLUMNS, draw_grid
from contnet.invariance.report.groups import Group, by_scheme
from contnet.invariance.report.look import draw_ring, hollow, scheme_look, statistics_handles
from contnet.invariance.report.references import draw_references
from contnet.invariance.report.ticks import steps_axis
from contnet.invariance.study import Study
from contnet.look import verbatim

ROOM = 9
"""Labels of steps that a panel has room for; half of it if two stand beside each other."""


def draw_accuracy(studies: Sequence[Study], references: Sequence[Study]) -> Figure:
    """Draw accuracy over the number of steps, a panel for each study, a curve for each scheme.

    A band is what the tolerance allows, and a bar the interval of each verdict, at the
    manifestation that loses most. An adaptive scheme is a horizontal line, at its tightest
    tolerance. Crosses are the other networks as trained, if they were trained in one manifestation
    with a scheme that the panel shows. A thin line joins those of one scheme.
    """
    others = [one for one in (*studies, *references) if not one.has_training_set]
    room = ROOM if min(len(studies), MAX_COLUMNS) == 1 else ROOM // 2
    results = [result for study in studies for result in study.unprojected]
    return draw_grid(studies, partial(_draw, others=others, room=room), statistics_handles(results))


def _draw(study: Study, ax: Axes, others: Sequence[Study], room: int) -> None:
    groups = by_scheme(study.unprojected)
    for group in groups:
        if group.members[0][0].manifestation.rtol is None:
            _draw_curve(ax, group)
        else:
            _draw_level(ax, group)
    schemes = {group.name for group in groups}
    others = [o for o in others if o.trained.manifestation.name in schemes and _n_time_steps(o)]
    if any(other is not study for other in others):
        _draw_separately_trained(ax, others)
    if _n_time_steps(study):
        draw_ring(ax, _n_time_steps(study), study.trained_figures.accuracy)
    numbers = {result.manifestation.n_time_steps for result in study.unprojected}
    numbers |= {_n_time_steps(other) for other in others} - {0}
    steps_axis(ax, [number for number in numbers if number is not None], room)
    _draw_band(ax, study)
    _draw_intervals(ax, study)


def _draw_band(ax: Axes, study: Study) -> None:
    """Draw the accuracies of an invariant network."""
    accuracy = study.trained_figures.accuracy
    name = f"loss within {study.tolerance:g} pp"
    low = accuracy - study.tolerance / 100
    ax.axhspan(low, accuracy, color="#009E73", alpha=0.15, linewidth=0, zorder=0, label=name)


def _draw_intervals(ax: Axes, study: Study) -> None:
    """Draw the intervals of the largest losses as bars, each at the variant that has it."""
    accuracy, (_, right) = study.trained_figures.accuracy, ax.get_xlim()
    for verdict, recalibrated in study.verdicts:
        worst = next((r for r in study.unprojected if str(r) == verdict.worst), None)
        if worst is None or verdict.interval is None or verdict.loss is None:
            continue
        low, high = (accuracy - points / 100 for points in reversed(verdict.interval))
        # The observed loss need not be the middle of its interval.
        ax.errorbar(
            [worst.manifestation.n_time_steps or right],
            [(low + high) / 2],
            yerr=(high - low) / 2,
            fmt="none",
            ecolor="black",
            elinewidth=1.4,
            capsize=5,
            linestyle=":" if recalibrated else "-",
            zorder=7,
            label="verdict: 95 % interval",
        )


def _draw_curve(ax: Axes, group: Group) -> None:
    points = [
        (result.manifestation.n_time_steps or 0, figures.accuracy)
        for result, figures in group.members
    ]
    look = {**scheme_look(group.name), **hollow(recalibrated=group.recalibrated), "markersize": 5}
    if group.recalibrated:
        look["linestyle"] = ":"
    ax.plot(*zip(*sorted(points), strict=True), label=verbatim(group.name), **look)


def _draw_level(ax: Axes, group: Group) -> None:
    best, figures = min(group.members, key=lambda member: member[0].manifestation.rtol or 0)
    look = scheme_look(group.name)
    ax.axhline(
        figures.accuracy,
        label=verbatim(f"{group.name}, {best.manifestation.effort}"),
        color=look["color"],
        linestyle=":" if group.recalibrated else look["linestyle"],
        linewidth=1,
    )


def _draw_separately_trained(ax: Axes, others: Sequence[Study]) -> None:
    curves: dict[str, list[tuple[int, float]]] = {}
    for one in others:
        point = (_n_time_steps(one), one.trained_figures.accuracy)
        curves.setdefault(one.trained.manifestation.name or "", []).append(point)
    for scheme, points in curves.items():
        colour = scheme_look(scheme)["color"]
        ax.plot(*zip(*sorted(points), strict=True), color=colour, linewidth=0.8, zorder=1)
    draw_references(ax, others, _n_time_steps)


def _n_time_steps(study: Study) -> int:
    return study.trained.manifestation.n_time_steps or 0
