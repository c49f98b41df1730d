"""What becomes of an image file: every mode, format, orientation and kind of transparency."""

import struct
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contnet.data import decoding
from tests.data.files import decoded, pair, tiff

BLUE = (50, 100, 200)
GREY = 124
MODES = {
    **dict.fromkeys(("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"), BLUE),
    **dict.fromkeys(("P", "PA"), BLUE),
    **dict.fromkeys(("L", "LA", "I;16", "I;16L", "I;16B", "I", "F"), (GREY,) * 3),
    "1": (255,) * 3,
}
"""The modes that files have, and the colour in which a picture of that mode is filled."""

Image.init()
AVAILABLE = [
    kind
    for kind in (
        *("L JPEG", "L PNG", "L WEBP", "L AVIF", "I;16 PNG", "P PNG"),
        *(f"{mode} TIFF" for mode in ("L", "I;16", "I;16B", "P", "RGB", "RGBA", "CMYK")),
    )
    if kind.split()[1] in Image.SAVE
]
"""Modes and formats with orientation tags that this Pillow writes."""

FORMATS = ("PNG", "TIFF", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TGA", "JPEG2000", "AVIF", "ICO")


def picture(mode: str) -> Image.Image:
    """Return a picture of 16 x 16 pixels, filled with the colour of its mode."""
    if mode.startswith("I"):
        return Image.new(mode, (16, 16), GREY * 257)
    if mode == "F":
        return Image.new(mode, (16, 16), GREY * 257.0)
    coloured = Image.new("RGB", (16, 16), MODES[mode])
    if mode == "PA":
        indexed = coloured.convert("P", palette=Image.Palette.ADAPTIVE)
        made = Image.merge("PA", [indexed, Image.new("L", (16, 16), 255)])
        made.putpalette(indexed.getpalette() or [])
        return made
    return coloured.convert(mode, palette=Image.Palette.ADAPTIVE)


def _written() -> list[Any]:
    """Return mode as read, format and content of each mode in each format that Pillow writes."""
    found = {}
    for mode, kind in product(MODES, FORMATS):
        content = BytesIO()
        try:
            picture(mode).save(content, kind)
            with Image.open(content) as image:
                read = image.mode
        except (OSError, KeyError, ValueError):
            continue
        # Only without a conversion by the writer, which would clip 16 bits.
        if read == mode or (mode, read) in {("I;16B", "I;16"), ("I;16", "I"), ("P", "RGB")}:
            found[read, kind, mode] = content.getvalue()
    return [
        pytest.param(mode, kind, content, id=f"{made}-{kind}")
        for (mode, kind, made), content in found.items()
    ]


@pytest.mark.parametrize(("mode", "kind", "content"), _written())
def test_every_mode_is_scaled_by_its_range_or_refused_by_file_and_mode(
    mode: str, kind: str, content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "picture.bin"
    file.write_bytes(content)
    if mode == "F" or (mode == "I" and kind == "TIFF"):
        with pytest.raises(ValueError, match=rf"picture.bin: mode {mode} of {kind} files has no"):
            decoded(file)
        return
    grey = mode in ("L", "LA", "1") or mode.startswith("I")
    expected = (255,) * 3 if mode == "1" else (GREY,) * 3 if grey else BLUE
    assert np.abs(decoded(file).astype(int) - expected).max() <= 6


def test_the_modes_of_memory_alone_are_scaled_too() -> None:
    for mode, base in (("La", "LA"), ("RGBa", "RGBA"), ("RGBX", "RGBX"), ("HSV", "HSV")):
        made = decoding.to_rgb(picture(base).convert(mode))
        expected = (GREY,) * 3 if mode == "La" else BLUE
        assert np.abs(np.asarray(made).astype(int) - expected).max() <= 3


@pytest.mark.parametrize(
    ("mode", "kind"),
    [*product(["I;16"], ["PNG", "TIFF", "JPEG2000", "PPM"]), *product(["I;16B"], ["PNG", "TIFF"])],
)
def test_16_bits_become_the_high_8_of_them(mode: str, kind: str, tmp_path: Path) -> None:
    values = (np.arange(256) * 256 + 77).astype("<u2").reshape(16, 16)
    image = Image.fromarray(values)
    if mode == "I;16B":
        image = Image.frombytes(mode, (16, 16), values.astype(">u2").tobytes())
    image.save(tmp_path / "wide", kind, **({"irreversible": False} if kind == "JPEG2000" else {}))
    pixels = decoded(tmp_path / "wide")
    assert pixels[:, :, 0].ravel().tolist() == list(range(256))
    assert (pixels == pixels[:, :, :1]).all()


def test_two_brightnesses_of_16_bits_stay_two(tmp_path: Path) -> None:
    for value, expected in ((15_000, 58), (45_000, 175)):
        Image.new("I;16", (16, 16), value).save(tmp_path / "wide.png")
        assert np.unique(decoded(tmp_path / "wide.png")).tolist() == [expected]


def test_tiff_files_of_12_bits_and_of_reversed_brightness_are_scaled(tmp_path: Path) -> None:
    packed = bytes([0x80, 0x0F, 0xFF])  # 0x800 and 0xfff
    assert pair(tmp_path, "12.tif", tiff(12, packed)) == [[128] * 3, [255] * 3]
    words = struct.pack("<HH", 0, 0x4000)
    assert pair(tmp_path, "16.tif", tiff(16, words)) == [[0] * 3, [64] * 3]
    reversed_words = tiff(16, words, white_is_zero=True)
    assert pair(tmp_path, "white.tif", reversed_words) == [[255] * 3, [191] * 3]


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (tiff(8, struct.pack("<bb", -5, 90), sample_format=2), "L"),
        (tiff(16, struct.pack("<hh", -5, 900), sample_format=2), "I"),
        (tiff(32, struct.pack("<II", 5, 2**31), sample_format=1), "I"),
        (tiff(32, struct.pack("<ii", -5, 900), sample_format=2), "I"),
        (tiff(32, struct.pack("<ff", 0.25, 900), sample_format=3), "F"),
    ],
    ids=("int8", "int16", "uint32", "int32", "float32"),
)
def test_values_without_a_fixed_range_are_refused_by_file_and_mode(
    content: bytes, mode: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"odd.tif: mode {mode} of TIFF files has no fixed range"):
        pair(tmp_path, "odd.tif", content)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", AVAILABLE)
def test_photographs_stand_upright_whatever_their_orientation_tag(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    values = np.array([[20, 90], [160, 230], [60, 120]], np.uint8)
    upright = np.kron(values, np.ones((8, 8), np.uint8))  # not square
    stored = {  # from the definition: which side of the picture is row 0, and which column 0
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    mode, written = kind.split()
    if mode.startswith("I;16"):
        words = (stored.astype("u2") * 256).astype(">u2" if mode == "I;16B" else "<u2")
        image = Image.frombytes(mode, stored.shape[::-1], words.tobytes())
    else:
        image = Image.fromarray(np.ascontiguousarray(stored)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(written, {})
    image.save(tmp_path / "photo", written, exif=exif, **options)
    pixels = np.asarray(decoding.decoded(tmp_path / "photo"))
    assert np.abs(pixels[:, :, 0].astype(int) - upright).max() <= 6


def test_a_damaged_orientation_tag_changes_nothing_and_warns_of_nothing(tmp_path: Path) -> None:
    plain = Image.new("RGB", (16, 16), BLUE)
    plain.save(tmp_path / "plain.jpg", quality=95)
    for i, exif in enumerate(
        (b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01", b"Exif\0\0II", b"Exif\0\0xx" * 9)
    ):
        plain.save(tmp_path / f"{i}.jpg", quality=95, exif=exif)
        assert (decoded(tmp_path / f"{i}.jpg") == decoded(tmp_path / "plain.jpg")).all()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "PPM", "WEBP"])
def test_plain_images_are_those_of_pillow_bit_for_bit(kind: str, mode: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(tmp_path / "plain", kind)
    with Image.open(tmp_path / "plain") as image:
        plain = image.convert("RGB")
    resized = plain.resize((16, 16), Image.Resampling.BILINEAR)
    assert (decoded(tmp_path / "plain") == np.asarray(resized)).all()
