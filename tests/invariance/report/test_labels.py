from itertools import combinations, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from contnet.invariance.report.labels import Label, Point, place_labels


def panel(points: list[Point]) -> Axes:
    ax = Figure(figsize=(5, 4)).subplots()
    ax.plot(*zip(*points, strict=True), "o")
    ax.margins(0.1)
    ax.get_xlim()  # sets the limits
    return ax


def boxes(ax: Axes) -> list[Bbox]:
    figure = ax.figure
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    return [
        Text.get_window_extent(child, renderer)
        for child in ax.get_children()
        if isinstance(child, Annotation)
    ]


def test_labels_of_near_points_cover_neither_each_other_nor_a_point_nor_a_line() -> None:
    generator = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in generator.normal(0, 0.02, (12, 2))]
    points += [(-1.0, -1.0), (1.0, 1.0)]
    line = sorted(points)
    ax = panel(points)
    place_labels(ax, [Label(f"euler {i}", p, "k") for i, p in enumerate(points)], points, [line])
    placed = boxes(ax)
    assert len(placed) >= 10
    assert not any(one.overlaps(other) for one, other in combinations(placed, 2))
    for box in placed:
        assert ax.bbox.containsx(box.x0)
        assert ax.bbox.containsx(box.x1)
        assert not any(box.contains(*corner) for corner in ax.transData.transform(points))
        middles = [np.mean(pair, axis=0) for pair in pairwise(line)]
        assert not any(box.contains(*corner) for corner in ax.transData.transform(middles))


def test_a_label_without_a_free_place_is_left_out_and_the_first_are_written() -> None:
    points = [(0.0, 0.0)] * 50
    ax = panel([*points, (1.0, 1.0)])
    place_labels(ax, [Label("rk4_classic 16", point, "k") for point in points], points)
    assert 3 <= len(boxes(ax)) < 50
