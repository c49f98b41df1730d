"""Transparent pixels are laid on white, however a file says which they are."""

import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.files import decoded, pair, png


@pytest.mark.parametrize(
    ("mode", "kind"), [*product(["RGBA", "LA"], ["PNG", "TIFF", "WEBP", "TGA"])]
)
def test_transparent_pixels_are_laid_on_white(mode: str, kind: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (16, 16), (40, 40, 40, 0)).convert(mode)
    image.paste(Image.new("RGBA", (8, 16), (40, 40, 40, 255)).convert(mode), (0, 0))
    image.paste(Image.new("RGBA", (4, 16), (40, 40, 40, 128)).convert(mode), (0, 0))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image.save(tmp_path / "glass", kind, **options)
    row = decoded(tmp_path / "glass")[0]
    assert row[4:8].tolist() == [[40] * 3] * 4
    assert row[8:].tolist() == [[255] * 3] * 8
    assert np.abs(row[:4].astype(int) - round(40 * 128 / 255 + 127)).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("transparency", [1, bytes([255, 0]), bytes([255, 128])])
def test_palettes_with_transparent_colours_are_laid_on_white_without_a_warning(
    transparency: int | bytes, kind: str, tmp_path: Path
) -> None:
    if kind == "GIF" and transparency != 1:
        return  # a GIF has one transparent colour
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(1, (8, 0, 16, 16))
    options = {"lossless": True} if kind == "WEBP" else {}
    image.save(tmp_path / "palette", kind, transparency=transparency, **options)
    row = decoded(tmp_path / "palette")[0].astype(int)
    share = 128 / 255 if transparency == bytes([255, 128]) and kind == "PNG" else 0
    if kind == "WEBP":  # has no palette
        with Image.open(tmp_path / "palette") as stored:
            share = stored.convert("RGBA").getpixel((15, 0))[3] / 255
    expected = [255 + share * (channel - 255) for channel in (200, 0, 0)]
    assert row[0].tolist() == [10, 20, 30]
    assert np.abs(row[15] - expected).max() <= 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(1, 0, b"\x40", struct.pack(">H", 0)), [255, 255]),
        (png(2, 0, b"\x10", struct.pack(">H", 1)), [0, 255]),
        (png(4, 0, b"\x37", struct.pack(">H", 7)), [51, 255]),
        (png(8, 0, b"\x37\x38", struct.pack(">H", 0x37)), [255, 56]),
        (png(16, 0, b"\x12\x34\x56\x00", struct.pack(">H", 0x1234)), [255, 86]),
        (png(8, 2, b"\x01\x01\x01\x02\x02\x02", struct.pack(">3H", 1, 1, 1)), [255, 2]),
        (png(16, 2, b"\x12\x00" * 3 + b"\0\0" * 3, struct.pack(">3H", *[0x1200] * 3)), [255, 0]),
    ],
    ids=("1", "2", "4", "8", "16", "colour 8", "colour 16"),
)
def test_a_transparent_grey_or_colour_is_white_at_every_depth(
    content: bytes, expected: list[int], tmp_path: Path
) -> None:
    assert pair(tmp_path, "key.png", content) == [[value] * 3 for value in expected]
