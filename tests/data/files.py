"""Image files: what a data set makes of them, and some that Pillow cannot write."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch

from contnet.data.images import ArrayImages, FileImages


def decoded(file: Path, size: int = 16) -> np.ndarray:
    """Return the pixels of a file as a data set has them, both decoded once and lazily."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        once, lazily = (
            FileImages([file], torch.zeros(1).long(), size, decode_once=one).prepared()
            for one in (True, False)
        )
        pixels, _ = lazily.take(torch.tensor([0]))
    assert isinstance(once, ArrayImages)
    assert torch.equal(once.pixels, pixels)
    return pixels[0].numpy()


def pair(folder: Path, name: str, content: bytes) -> list[list[int]]:
    """Return the two pixels (R, G, B) of a file of two pixels, in which each is doubled."""
    (folder / name).write_bytes(content)
    return decoded(folder / name, size=2)[0].tolist()


def png(depth: int, kind: int, pixels: bytes, transparent: bytes = b"") -> bytes:
    """Return a PNG file of two pixels in a row.

    Args:
        depth: bits of a channel.
        kind: 0 for grey, 2 for colour.
        pixels: the packed row.
        transparent: the content of the chunk tRNS, if there shall be one.
    """
    header = struct.pack(">IIBBBBB", 2, 1, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + pixels)), (b"IEND", b"")]
    if transparent:
        chunks.insert(1, (b"tRNS", transparent))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def tiff(bits: int, pixels: bytes, *, white_is_zero: bool = False, sample_format: int = 1) -> bytes:
    """Return a little-endian grey TIFF file of two pixels in a row.

    Args:
        bits: bits of a pixel.
        pixels: the packed row.
        white_is_zero: the photometric interpretation.
        sample_format: 1 for numbers without sign, 2 with sign, 3 for floating point.
    """
    entries = {
        256: 2,  # width
        257: 1,  # height
        258: bits,
        259: 1,  # not compressed
        262: 0 if white_is_zero else 1,
        273: 8,  # where the pixels lie
        277: 1,  # channels
        278: 1,  # rows of a strip
        279: len(pixels),
        339: sample_format,
    }
    padded = pixels + b"\0" * (len(pixels) % 2)
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value)
        for tag, value in entries.items()
    )
    start = struct.pack("<2sHI", b"II", 42, 8 + len(padded))
    return start + padded + directory + struct.pack("<I", 0)
