"""Networks to compare with, which were each trained in one manifestation, in the pictures."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes

from contnet.invariance.report.look import scheme_look
from contnet.invariance.study import Study

NAME = "separately trained networks"


def draw_references(ax: Axes, references: Sequence[Study], place: Callable[[Study], float]) -> None:
    """Draw the accuracy of each reference as trained, at its place x."""
    for reference in references:
        look = _look(scheme_look(reference.trained.manifestation.name or "")["color"])
        ax.plot([place(reference)], [reference.trained_figures.accuracy], **look)
    if references:
        ax.plot([], [], label=NAME, **_look("0.3"))


def _look(colour: str) -> dict[str, Any]:
    # A cross hides nothing below it. Hollow markers are recalibrated results.
    cross = {"marker": "+", "markersize": 9, "markeredgewidth": 2, "linestyle": ""}
    return {"color": colour, **cross, "zorder": 4}
