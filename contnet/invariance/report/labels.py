"""Labels of points that keep clear of each other, of the points and of lines through them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, hypot, radians, sin

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

Point = tuple[float, float]

DISTANCES = (9, 14, 20, 27, 35, 44)
"""Distances in points (1/72 inch) at which a place for a label is sought, the nearest first."""

ANGLES = (90, 270, 60, 120, 240, 300, 30, 150, 210, 330, 0, 180)
"""Directions in degrees in which it is sought, the best first."""

NEXT_TO_IT = 15
"""The largest distance in points of a label that needs no line to its point."""

FONT_SIZE = 7.5

MARKER = 4.0
"""Half the size of a marker, in points."""


@dataclass(frozen=True)
class Label:
    """A text for a point in data coordinates.

    Args:
        text: the text.
        point: the point.
        colour: the colour of the text.
        weight: the weight of its font.
    """

    text: str
    point: Point
    colour: str
    weight: str = "normal"


def settle(figure: Figure) -> None:
    """Give the axes of a figure their final sizes, so that labels can be placed in them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def place_labels(
    ax: Axes,
    labels: Sequence[Label],
    points: Sequence[Point],
    lines: Iterable[Sequence[Point]] = (),
) -> None:
    """Write labels next to their points, each at the nearest place that is free.

    A thin line joins a point and a label that is not next to it. Where no place is free, the label
    is left out: a picture that says less is better than one that cannot be read.

    Args:
        ax: axes that have their final size and limits.
        labels: the labels, in order of importance.
        points: points that no label may cover.
        lines: corners of lines that no label may cover.
    """
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    scale = figure.dpi / 72
    taken = [_around(x, y, MARKER * scale) for x, y in ax.transData.transform(list(points))]
    for line in lines:
        taken += [_around(x, y, scale) for x, y in _dense(ax.transData.transform(list(line)))]
    for label in labels:
        (origin,) = ax.transData.transform([label.point])
        size = _size(ax, label, renderer)
        for offset in _offsets():
            box = _box(origin + scale * np.array(offset), offset[0], size)
            if _within(box, ax.bbox) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                _write(ax, label, offset)
                break


def _offsets() -> Iterator[Point]:
    """Yield the offsets of places from a point in points (1/72 inch), the best first."""
    for distance in DISTANCES:
        for angle in map(radians, ANGLES):
            yield round(distance * cos(angle), 6), round(distance * sin(angle), 6)


def _alignment(right: float) -> str:
    """Return the alignment of a label that lies to the right (positive) of its point, or left."""
    return "center" if right == 0 else "left" if right > 0 else "right"


def _size(ax: Axes, label: Label, renderer: RendererBase) -> Point:
    """Return width and height of a label in pixels."""
    text = ax.text(0, 0, label.text, fontsize=FONT_SIZE, fontweight=label.weight)
    extent = text.get_window_extent(renderer).padded(1)
    text.remove()
    return extent.width, extent.height


def _box(anchor: np.ndarray, right: float, size: Point) -> Bbox:
    (x, y), (width, height) = anchor, size
    x -= {"left": 0, "center": width / 2, "right": width}[_alignment(right)]
    return Bbox.from_bounds(x, y - height / 2, width, height)


def _within(box: Bbox, outer: Bbox) -> bool:
    return bool(
        outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1
    )


def _write(ax: Axes, label: Label, offset: Point) -> None:
    leader = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.5, "shrinkB": 3}
    ax.annotate(
        label.text,
        label.point,
        xytext=offset,
        textcoords="offset points",
        ha=_alignment(offset[0]),
        va="center",
        color=label.colour,
        fontsize=FONT_SIZE,
        fontweight=label.weight,
        arrowprops=leader if hypot(*offset) > NEXT_TO_IT else None,
        zorder=6,
    ).set_in_layout(False)


def _around(x: float, y: float, half: float) -> Bbox:
    return Bbox.from_extents(x - half, y - half, x + half, y + half)


def _dense(corners: np.ndarray) -> Iterator[Point]:
    """Yield points along a line, so that the gaps between them are smaller than a letter."""
    for (x0, y0), (x1, y1) in pairwise(corners):
        for t in np.linspace(0, 1, 40):
            yield x0 + t * (x1 - x0), y0 + t * (y1 - y0)
