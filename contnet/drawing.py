"""Pictures of figures, drawn in a few milliseconds: uint8 arrays (height, width, 3)."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")

SMALLEST, LARGEST = 64, 128
"""Bounds of the width and height of an image in a grid, in pixels."""

MOST_NUMBERS = 30
"""Classes of a confusion matrix with numbers."""


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), "white")
    return image, ImageDraw.Draw(image)


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image, dtype=np.uint8)


def grid(images: Tensor, captions: Sequence[str], columns: int = 8) -> Pixels:
    """Return images in a grid, each with a caption below it.

    Args:
        images: uint8 (N, C, H, W), or floating point, of which the smallest value is shown as black
            and the largest as white. Of other channels than 1 or 3, the first is shown.
        captions: N texts; of a long one the beginning is shown.
        columns: the images of a row.
    """
    tiles = _tiles(images)
    size, line = tiles.shape[2], 14
    rows = ceil(len(tiles) / columns)
    cell = size + 4
    picture, draw = _canvas(columns * cell, rows * (cell + line))
    for i, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left, top = i % columns * cell + 2, i // columns * (cell + line) + 2
        picture.paste(Image.fromarray(tile.permute(1, 2, 0).numpy()), (left, top))
        draw.text((left, top + size), _fitted(caption, size, 11), fill="black", font=_font(11))
    return _pixels(picture)


def _tiles(images: Tensor) -> Tensor:
    """Return images as uint8 (N, 3, H, W) of a size that can be looked at."""
    images = images if images.shape[1] in (1, 3) else images[:, :1]
    if images.dtype != torch.uint8:
        low, high = images.aminmax()
        images = (images - low) / (high - low).clamp(min=1e-12) * 255
    height, width = images.shape[2:]
    factor = min(LARGEST / max(height, width), ceil(SMALLEST / max(height, width)))
    tiles = nn.functional.interpolate(
        images.float().cpu(),
        (max(1, round(factor * height)), max(1, round(factor * width))),
        mode="nearest" if factor >= 1 else "area",
    )
    side = max(tiles.shape[2:])
    padded = nn.functional.pad(tiles, (0, side - tiles.shape[3], 0, side - tiles.shape[2]))
    return padded.round().to(torch.uint8).expand(-1, 3, -1, -1)


def _fitted(text: str, width: int, size: int) -> str:
    """Return the beginning of a text that is not wider than `width` pixels."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def confusion(counts: Tensor, classes: Sequence[str]) -> Pixels:
    """Return a confusion matrix: a row for each true class, a column for each predicted one.

    A cell is the darker, the larger its share of the row is. With up to 30 classes it shows its
    number of images, and rows and columns have names.

    Args:
        counts: numbers of images, (n, n).
        classes: the names of the n classes.
    """
    n = len(classes)
    is_named = n <= MOST_NUMBERS
    cell = 36 if is_named else max(1, 640 // n)
    margin = 104 if is_named else 24
    picture, draw = _canvas(margin + n * cell + 8, margin + n * cell + 8)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    shade = (1 - shares.sqrt().numpy())[..., None]  # the root: rare confusions are to be seen
    colours = np.uint8(255 * (shade + (1 - shade) * np.array([8, 48, 107]) / 255))
    enlarged = colours.repeat(cell, 0).repeat(cell, 1)
    picture.paste(Image.fromarray(enlarged), (margin, margin))
    draw.rectangle((margin - 1, margin - 1, margin + n * cell, margin + n * cell), outline="grey")
    draw.text((4, 4), "true (rows), predicted (columns)", fill="black", font=_font(12))
    if is_named:
        _name_cells(picture, draw, counts, shares, classes, cell, margin)
    return _pixels(picture)


def _name_cells(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    counts: Tensor,
    shares: Tensor,
    classes: Sequence[str],
    cell: int,
    margin: int,
) -> None:
    for i, name in enumerate(classes):
        middle = margin + i * cell + cell // 2
        text = _fitted(name, margin - 28, 11)
        draw.text((margin - 6, middle), text, fill="black", font=_font(11), anchor="rm")
        label, pen = _canvas(margin - 28, cell)
        pen.text((0, cell // 2), text, fill="black", font=_font(11), anchor="lm")
        picture.paste(label.rotate(90, expand=True), (middle - cell // 2, 24))
        for j, count in enumerate(counts[i].tolist()):
            if count:
                draw.text(
                    (margin + j * cell + cell // 2, middle),
                    str(count),
                    fill="white" if shares[i, j] > 0.2 else "black",
                    font=_font(11 if count < 10_000 else 9),
                    anchor="mm",
                )


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str
) -> Pixels:
    """Return curves (x, y) by name, for x from 0 to 1 and y from 0 to the largest one."""
    left, top, width, height = 60, 30, 480, 300
    picture, draw = _canvas(left + width + 80, top + height + 44)
    highest = max((y for _, ys in lines.values() for y in ys), default=1.0) or 1.0
    step = _round_step(highest)
    upper = step * ceil(highest / step)
    font = _font(11)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + width * x, top + height * (1 - y / upper)

    for i in range(round(upper / step) + 1):
        draw.line([at(0, i * step), at(1, i * step)], fill="#dddddd")
        text = f"{i * step:.4g}"
        draw.text((left - 6, at(0, i * step)[1]), text, fill="black", font=font, anchor="rm")
    for i in range(6):
        draw.text((at(i / 5, 0)[0], top + height + 6), f"{i / 5:g}", "black", font, anchor="mt")
    draw.text((left + width / 2, top + height + 24), x_label, "black", font, anchor="mt")
    draw.text((6, 6), y_label, fill="black", font=font)
    for i, (name, (xs, ys)) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        draw.line([at(x, y) for x, y in zip(xs, ys, strict=True)], fill=colour, width=2)
        draw.text((left + width + 8, top + 14 * i), name, colour, font)
    return _pixels(picture)


def _round_step(highest: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten, for four to eight lines."""
    power = 10.0 ** floor(log10(highest / 4))
    return next(m * power for m in (1, 2, 5, 10) if highest / (m * power) <= 8)
