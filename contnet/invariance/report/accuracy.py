"""The picture of accuracy over the number of steps."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from contnet.invariance.report.grid import draw_grid
from contnet.invariance.report.groups import Group, by_scheme
from contnet.invariance.report.look import PLAIN, draw_ring, hollow, label, scheme_look
from contnet.invariance.study import Study

Curves = dict[str, list[tuple[int, float]]]
"""For each scheme, points (n_time_steps, accuracy)."""


def draw_accuracy(studies: Sequence[Study], references: Sequence[Study]) -> Figure:
    """Draw accuracy over the number of steps, a panel for each study, a curve for each scheme.

    An adaptive scheme is a horizontal line, at its tightest tolerance. Where several studies and
    references were trained with one scheme, a curve joins their accuracies as trained.
    """
    from_scratch = _as_trained([*studies, *references])
    return draw_grid(studies, partial(_draw, from_scratch=from_scratch))


def _draw(study: Study, ax: Axes, from_scratch: Curves) -> None:
    for group in by_scheme(study.unprojected):
        if group.members[0][0].manifestation.rtol is None:
            _draw_curve(ax, group)
        else:
            _draw_level(ax, group)
    trained = study.trained.manifestation
    _draw_from_scratch(ax, from_scratch.get(trained.name or "", []))
    if trained.n_time_steps:
        draw_ring(ax, trained.n_time_steps, study.trained_figures.accuracy)
    numbers = {result.manifestation.n_time_steps for result in study.unprojected}
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


def _draw_from_scratch(ax: Axes, points: Sequence[tuple[int, float]]) -> None:
    if len(points) > 1:
        ax.plot(
            *zip(*points, strict=True),
            color="0.45",
            linewidth=1,
            marker=".",
            zorder=1,
            label="each depth trained from scratch",
        )


def _as_trained(studies: Sequence[Study]) -> Curves:
    found: Curves = {}
    for study in studies:
        trained = study.trained.manifestation
        if trained.n_time_steps:
            point = (trained.n_time_steps, study.trained_figures.accuracy)
            found.setdefault(trained.name or "", []).append(point)
    return {scheme: sorted(points) for scheme, points in found.items()}
