"""The decoding of image files: from any mode that Pillow reads to RGB with 8 bits a channel.

- Values of 16 bits are divided by 256, those of 12 bits by 16. Values whose range no file states,
  such as floating point, are refused: nobody can say which of them is white.
- A photograph is turned upright as its EXIF orientation asks.
- Transparent pixels are laid on white.
- The first picture of a file that holds several is taken.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENAMETOOLONG
from functools import cache
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

NO_PICTURES = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow lists, and that hold data, films or programs that draw."""

BYTES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX")
COLOURS = ("CMYK", "YCbCr", "LAB", "HSV")
WORDS = ("I;16", "I;16L", "I;16B", "I;16N")
WORDS_OF_32_BITS = ("PNG", "PPM")
"""Formats whose mode I, of 32 bits, holds values of 16 bits."""

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""Tags of a TIFF file."""

SIGNED = 2
"""The sample format of numbers with a sign."""

GONE = "the file is no longer there"
"""The reason of a file that has vanished."""

STEPS = {"L;2": 255 // 3, "L;4": 255 // 15}
"""What Pillow multiplies the pixels of a PNG file with, but not its transparent value."""


class UnreadableError(Exception):
    """An image file that cannot be read; the message is the reason."""


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read as images."""
    named = set(Image.registered_extensions().values())
    return tuple(name for name in Image.ID if name in named - NO_PICTURES)


@cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of the names of image files, in lower case, such as ".png"."""
    allowed = {*formats(), "MPO"}  # which JPEG's reader reads
    return frozenset(s for s, name in Image.registered_extensions().items() if name in allowed)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's remarks about files that it can read; for one thread at a time."""
    with catch_warnings():
        filterwarnings("ignore", module=r"PIL\.")
        yield


def decoded(file: Path) -> Image.Image:
    """Return the image in a file, in the mode RGB.

    Raises:
        UnreadableError: if there is no such file, it is no image, it is damaged or too large, or
            its mode has no fixed range.
    """
    try:
        if file.exists() and not file.is_file():
            # A pipe or a device may be read without an end.
            raise UnreadableError("a folder" if file.is_dir() else "a pipe or a device, no file")
        # Of a file that it has not opened itself, Pillow maps no pixels to memory. It would map
        # those of a TIFF file that is not square and lies on its side by its upright size.
        with file.open("rb") as opened, Image.open(opened, formats=formats()) as image:
            return to_rgb(image)
    except (MemoryError, UnreadableError):
        raise
    except Exception as error:  # of any kind: a damaged file fails wherever it is damaged
        raise UnreadableError(_reason(file, error)) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image in the mode RGB: upright, on white, with 8 bits a channel.

    Raises:
        UnreadableError: if its mode has no fixed range.
    """
    stored = _stored_as(image)
    image.load()
    with suppress(Exception):  # of any kind: a damaged tag says nothing about the pixels
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode in WORDS or (image.mode == "I" and image.format in WORDS_OF_32_BITS):
        return _from_words(image)
    if image.mode not in (*BYTES, *COLOURS) or _is_signed(image):
        raise UnreadableError(
            f"mode {image.mode} of {image.format} files has no fixed range of values; save it with "
            "8 bits a channel, or with 16 bits and no sign"
        )
    if image.mode not in BYTES or not image.has_transparency_data:
        return image.convert("RGB")
    key: Any = image.info.get("transparency")
    if stored in STEPS:
        image.info["transparency"] = key * STEPS[stored]
    elif stored == "RGB;16B":  # of these pixels, Pillow keeps the high bytes
        image.info["transparency"] = tuple(value >> 8 for value in key)
    pixels = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
    white = Image.new("RGBA", pixels.size, "white")
    return Image.alpha_composite(white, pixels).convert("RGB")


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an image of another width and height, or the same one if it has them already."""
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def _is_signed(image: Image.Image) -> bool:
    """Return True for a TIFF file of numbers with a sign, which Pillow reads as if without."""
    return SIGNED in getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT, ())


def _stored_as(image: Image.Image) -> Any:
    """Return how a PNG file stores its pixels, which is known until they are loaded."""
    tiles = getattr(image, "tile", None)
    return tiles[0][3] if image.format == "PNG" and tiles else None


def _from_words(image: Image.Image) -> Image.Image:
    """Return an image of 16 bits a pixel with the highest 8 of them."""
    values = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    grey = (values >> (bits - 8)).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == 0:
        grey = 255 - grey  # white is stored as 0
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _reason(file: Path, error: Exception) -> str:
    """Say in a few words why a file cannot be read."""
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.errno == ENAMETOOLONG:
        return "its name is too long"
    if file.is_symlink() and not file.exists():
        return "a link that leads nowhere"
    if isinstance(error, FileNotFoundError):
        return GONE
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels, more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,}"
    if isinstance(error, UnidentifiedImageError):
        return "an empty file" if file.stat().st_size == 0 else "not a readable image"
    return f"damaged: {' '.join(str(error).split()) or type(error).__name__}"
