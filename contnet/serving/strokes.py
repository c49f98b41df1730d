"""Photographs of strokes on a plain ground, as pictures of the strokes alone.

Networks for handwriting are trained on bright strokes on black that fill the picture: the digits of
scikit-learn are counts of ink in blocks of a bitmap, cropped to the digit. A photograph of ink on
paper has another ground, another size and noise.
"""

import numpy as np
from PIL import Image

INK = 0.5
"""The share of the darkest ink from which a pixel belongs to a stroke."""


def only_strokes(image: Image.Image) -> Image.Image:
    """Return the strokes in an image as white on black, cropped to them, in a square (mode L).

    The ground is the median of the pixels at the edges. Strokes may be darker or lighter than it.

    Args:
        image: an image in the mode RGB or L. Where it is all ground, the result is black.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    edges = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    contrast = np.abs(grey - np.median(edges))
    is_stroke = contrast > max(1.0, INK * float(contrast.max()))
    rows, columns = (np.flatnonzero(is_stroke.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return Image.new("L", image.size)
    strokes = is_stroke[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = strokes.shape
    side = max(height, width)
    square = np.zeros((side, side), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = 255 * strokes
    return Image.fromarray(square)
