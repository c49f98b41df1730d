"""What keeps a reader from reading a picture at 600 pixels: found by measuring all its texts."""

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

PIXELS = 600
"""The width at which a picture has to be readable."""

SMALLEST = 9.0
"""The smallest size of a letter at that width, in pixels."""

Box = tuple[str, Bbox]


def problems(figure: Figure) -> list[str]:
    """Return what is wrong with a picture: an empty list if it can be read."""
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()

    def box(text: Text) -> Box:
        # One pixel less on each side: letters do not fill their boxes.
        return text.get_text(), Text.get_window_extent(text, renderer).padded(-1)

    ticks = [text for ax in figure.axes for name in "xy" for text in _tick_labels(ax, name)]
    inside = [(ax, text) for ax in figure.axes for text in ax.texts if text.get_text()]
    others = [*figure.texts, *(text for key in figure.legends for text in key.get_texts())]
    others += [t for ax in figure.axes for t in (ax.title, ax.xaxis.label, ax.yaxis.label)]
    texts = [text for text in (*ticks, *(t for _, t in inside), *others) if text.get_text()]
    return [
        *_collisions([box(text) for text in texts]),
        *(
            f"{name!r} leaves the picture"
            for name, b in map(box, texts)
            if not _is_in(b, figure.bbox)
        ),
        *(
            f"{text.get_text()!r} leaves its axes"
            for ax, text in inside
            if not _is_in(box(text)[1], ax.bbox)
        ),
        *_too_small(figure, texts),
        *_few_ticks(figure),
    ]


def _tick_labels(ax: Axes, name: str) -> list[Text]:
    """Return the labels of ticks of an axis, "x" or "y", that are in view and drawn."""
    axis: Axis = getattr(ax, f"{name}axis")
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    found = []
    for tick in axis.get_major_ticks():
        label = tick.label2 if tick.label2.get_visible() else tick.label1
        if low - slack <= tick.get_loc() <= high + slack and label.get_visible():
            found.append(label)
    return [label for label in found if label.get_text()]


def _collisions(boxes: list[Box]) -> Iterator[str]:
    for (name, box), (other, its_box) in combinations(boxes, 2):
        if box.overlaps(its_box):
            yield f"{name!r} collides with {other!r}"


def _is_in(box: Bbox, outer: Bbox) -> bool:
    return bool(
        outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1
    )


def _too_small(figure: Figure, texts: list[Text]) -> Iterator[str]:
    pixels_per_point = PIXELS / (72 * figure.get_figwidth())
    for text in texts:
        size = text.get_fontsize() * pixels_per_point
        if size < SMALLEST:
            yield f"{text.get_text()!r} has {size:.1f} pixels at a width of {PIXELS}"


def _few_ticks(figure: Figure) -> Iterator[str]:
    for ax in figure.axes:
        if ax.images or ax.get_label() == "<colorbar>":
            continue  # an axis of names has as many as there are
        for name, shared in (("x", ax.get_shared_x_axes()), ("y", ax.get_shared_y_axes())):
            axes = [ax, *shared.get_siblings(ax)]
            most = max(len(_tick_labels(one, name)) for one in axes if isinstance(one, Axes))
            if most < 3:
                yield f"{name} of {ax.get_title()!r} has {most} labelled ticks"
