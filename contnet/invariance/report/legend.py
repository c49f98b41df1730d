"""Legends below the pictures: as many columns as the width has room for."""

from collections.abc import Iterable
from typing import Any

from matplotlib.figure import Figure

from contnet.look import WIDTH

FONT_SIZE = 8
LETTER = 4.7
"""The mean width of a letter in points."""

HANDLE = 34
"""The width of a handle and the gaps beside it, in points."""


def add_legend(figure: Figure, extra: Iterable[tuple[Any, str]] = ()) -> None:
    """Add a legend that names each label of any panel once, and then `extra` handles."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)  # filled markers are drawn before hollow ones
    handles |= {label: handle for handle, label in extra}
    if not handles:
        return
    lines = [line for label in handles for line in label.split("\n")]
    widest = max(map(len, lines)) * LETTER + HANDLE
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=max(1, min(4, int(72 * WIDTH / widest))),
        fontsize=FONT_SIZE,
    )
