"""The picture of accuracy over the number of steps."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from contnet.invariance.report.grid import draw_grid
from contnet.invariance.report.groups import Group, by_scheme
from contnet.invariance.report.look import draw_ring, hollow, label, scheme_look
from contnet.invariance.report.references import draw_references
from contnet.invariance.study import Study
from contnet.look import PLAIN


def draw_accuracy(studies: Sequence[Study], references: Sequence[Study]) -> Figure:
    """Draw accuracy over the number of steps, a panel for each study, a curve for each scheme.

    An adaptive scheme is a horizontal line, at its tightest tolerance. Crosses are the other
    networks as trained, if they were trained in one manifestation with a scheme that the panel
    shows. A thin line joins those of one scheme.
    """
    others = [one for one in (*studies, *references) if not one.has_training_set]
    return draw_grid(studies, partial(_draw, others=others))


def _draw(study: Study, ax: Axes, others: Sequence[Study]) -> None:
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
    numbers |= {_n_time_steps(other) for other in others}
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(number for number in numbers if number is not None))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("n_time_steps")


def _draw_curve(ax: Axes, group: Group) -> None:
    points = [
        (result.manifestation.n_time_steps or 0, figures.accuracy)
        for result, figures in group.members
    ]
    look = {**scheme_look(group.name), **hollow(recalibrated=group.recalibrated), "markersize": 5}
    if group.recalibrated:
        look["linestyle"] = ":"
    ax.plot(
        *zip(*sorted(points), strict=True),
        label=label(group.name, recalibrated=group.recalibrated),
        **look,
    )


def _draw_level(ax: Axes, group: Group) -> None:
    best, figures = min(group.members, key=lambda member: member[0].manifestation.rtol or 0)
    look = scheme_look(group.name)
    name = label(group.name, recalibrated=group.recalibrated)
    ax.axhline(
        figures.accuracy,
        label=f"{name}, {best.manifestation.effort}",
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
