"""Files whose zip archive is hostile, and tensors that are not what they seem."""

import io
import struct
import zipfile
import zlib
from collections import OrderedDict
from typing import Any

import torch

from tests.hostile.crafting import (
    Crafted,
    Good,
    archive_of,
    archived,
    put,
    saved,
    with_entry,
    with_value,
)

IMAGES = {
    **{"image_size": 8, "batch_size": 8, "test_batch_size": 8, "memory_gb": 1, "num_workers": 0},
    **{"crop_padding": 1, "horizontal_flip": False, "mean": [0.5], "std": [0.5], "val_size": 0},
}
"""Arguments of a folder of images."""

WEIGHT = "state_dict/network.head.linear.bias"


def _cut(share: float) -> Crafted:
    return lambda good: good.content[: int(len(good.content) * share)]


def inflates_to_64_mb(good: Good) -> bytes:
    """Return an archive whose compressed stream inflates a hundredfold."""
    entries = {**good.entries(), "archive/data.pkl": good.stream() + b"\0" * 2**24}
    return archived(entries, zipfile.ZIP_DEFLATED)


def inflates_its_weights(good: Good) -> bytes:
    entries = {**good.entries(), "archive/data/0": b"\0" * 2**24}
    return archived(entries, zipfile.ZIP_DEFLATED)


def holds_its_stream_twice(good: Good) -> bytes:
    content = io.BytesIO(good.content)
    with zipfile.ZipFile(content, "a") as file:
        info = zipfile.ZipInfo("archive/DATA.pkl")
        file.writestr(info, b"\x80\x02cposix\nsystem\nX\x0b\0\0\0touch OWNED\x85R.")
    return content.getvalue()


def holds_an_archive_in_its_comment(good: Good) -> bytes:
    content = io.BytesIO(good.content)
    with zipfile.ZipFile(content, "a") as file:
        file.comment = good.content[:60000]
    return content.getvalue()


def holds_a_second_archive_behind(good: Good) -> bytes:
    return good.content + good.content


def stands_in_a_longer_file(good: Good) -> bytes:
    return b"#!/bin/sh\ntouch OWNED\n" + good.content


def _patched(name: str, offset: int, value: bytes) -> Crafted:
    """Return what makes the archive with other bytes in an entry of its directory.

    The fields are those of the zip format: 8 flags, 10 compression, 16 checksum, 20 stored size,
    24 size, 42 place.
    """

    def craft(good: Good) -> bytes:
        content = bytearray(good.content)
        place = content.rindex(name.encode())  # the directory is at the end
        entry = content.rindex(b"PK\x01\x02", 0, place)
        content[entry + offset : entry + offset + len(value)] = value
        return bytes(content)

    return craft


def all_entries_are_one(good: Good) -> bytes:
    """Return an archive whose entries for tensors overlap: the directory names one place often."""
    content = bytearray(good.content)
    place = -1
    first = None
    while (place := content.find(b"PK\x01\x02", place + 1)) >= 0:
        (length,) = struct.unpack_from("<H", content, place + 28)
        if content[place + 46 : place + 46 + length].startswith(b"archive/data/"):
            first = first or content[place + 42 : place + 46]
            content[place + 42 : place + 46] = first
    return bytes(content)


def has_two_directories(good: Good) -> bytes:
    """Return an archive that one reader finds harmless, and another one full of interpolations.

    It has two directories, with two streams. The end of the archive says where the directory is
    described: right before itself, and, as an offset, elsewhere. Readers differ in which they use.
    """
    secret = {"_target_": "contnet.data.image_folder", "root": "${oc.env:SECRET}", **IMAGES}
    stream = archive_of(put(good.tree(), "contnet/config/dataset", secret))["archive/data.pkl"]
    content = good.content
    end = content.rindex(b"PK\x05\x06")
    n_entries, size, start = struct.unpack_from("<HII", content, end + 10)
    directory, name = content[start : start + size], b"archive/data.pkl"
    sizes = struct.pack("<III", zlib.crc32(stream), len(stream), len(stream))
    local = struct.pack("<4s5H", b"PK\x03\x04", 20, 0, 0, 0, 0) + sizes
    body = content[:start] + local + struct.pack("<2H", len(name), 0) + name + stream
    entry = directory.rindex(b"PK\x01\x02", 0, directory.rindex(name))
    other = bytearray(directory)
    other[entry + 16 : entry + 28] = sizes
    other[entry + 42 : entry + 46] = struct.pack("<I", start)

    def described(listed: bytes, place: int) -> bytes:
        numbers = (n_entries, n_entries, len(listed), place)
        record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, *numbers)
        return listed + record

    body += described(bytes(other), len(body))
    elsewhere = len(body) - 56
    body += described(directory, len(body))
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, elsewhere, 1)
    return body + locator + b"PK\x05\x06" + b"\0" * 4 + b"\xff" * 12 + b"\0" * 2


def _tensor(made: Any) -> Crafted:
    return with_value(WEIGHT, made)


def is_a_tensor_of_10_to_12_in_4_bytes(good: Good) -> bytes:
    """Return a file with a tensor that repeats one number: its strides are 0."""
    return saved(put(good.tree(), WEIGHT, torch.zeros(1).expand(10**12)))


def all_weights_are_nan(good: Good) -> bytes:
    tree = good.tree()
    for name, value in tree["state_dict"].items():
        if value.is_floating_point():
            tree["state_dict"][name] = torch.full_like(value, torch.nan)
    return saved(tree)


def _weights(made: Any) -> Crafted:
    return with_value("state_dict", made)


FILES: dict[str, Crafted] = {
    **{f"is_cut_at_{int(100 * share)}_percent": _cut(share) for share in (0.01, 0.3, 0.7, 0.99)},
    "is_empty": lambda good: b"",
    "is_text": lambda good: b"epoch,step\n1,2\n",
    "is_zeros": lambda good: b"\0" * 10**6,
    "is_an_empty_archive": lambda good: archived({}),
    "is_an_archive_of_a_picture": lambda good: archived({"picture.png": b"\x89PNG"}),
    "has_no_stream": lambda good: archived({"archive/data/0": b"\0" * 4}),
    "inflates_to_64_mb": inflates_to_64_mb,
    "inflates_its_weights": inflates_its_weights,
    "holds_its_stream_twice": holds_its_stream_twice,
    "holds_an_archive_in_its_comment": holds_an_archive_in_its_comment,
    "holds_a_second_archive_behind": holds_a_second_archive_behind,
    "stands_in_a_longer_file": stands_in_a_longer_file,
    "has_two_directories": has_two_directories,
    "all_entries_are_one": all_entries_are_one,
    "has_names_that_are_no_utf_8": _patched("archive/version", 46, b"archive/\xff\xfe\xfd"),
    "has_names_of_a_terminal": _patched("archive/version", 46, b"archive/\x1b[31m"),
    "states_another_size": _patched("archive/data.pkl", 20, struct.pack("<II", 2**31, 2**31)),
    "states_a_size_of_64_bits": _patched("archive/data.pkl", 20, b"\xff" * 8),
    "states_another_place": _patched("archive/data.pkl", 42, b"\xff\xff\xff\x7f"),
    "states_another_checksum": _patched("archive/data.pkl", 16, b"\0" * 4),
    "states_an_unknown_compression": _patched("archive/data.pkl", 10, b"\x63\0"),
    "states_that_it_is_encrypted": _patched("archive/data.pkl", 8, b"\x01\0"),
    "has_another_byte_order": with_entry("byteorder", b"big"),
    "has_an_unknown_byte_order": with_entry("byteorder", b"\x1b[31mred\n" * 100),
    "has_a_path_upwards": with_entry("../../OWNED", b"x"),
    "has_a_short_storage": with_entry("data/0", b"\0"),
    "has_a_long_storage": with_entry("data/0", b"\0" * 10**6),
    "is_a_tensor_of_10_to_12_in_4_bytes": is_a_tensor_of_10_to_12_in_4_bytes,
    "has_a_sparse_weight": _tensor(torch.zeros(10).to_sparse()),
    "has_a_complex_weight": _tensor(torch.zeros(10, dtype=torch.complex64)),
    "has_an_integer_weight": _tensor(torch.zeros(10, dtype=torch.int64)),
    "has_a_weight_without_memory": _tensor(torch.zeros(10, device="meta")),
    "has_a_weight_of_another_shape": _tensor(torch.zeros(11)),
    "has_a_weight_of_no_numbers": _tensor(torch.zeros(0)),
    "has_a_list_for_a_weight": _tensor([0.0] * 10),
    "has_a_text_for_a_weight": _tensor("\x1b]0;title\x07"),
    "all_weights_are_nan": all_weights_are_nan,
    "has_no_weights": _weights({}),
    "has_a_list_of_weights": _weights([torch.zeros(1)]),
    "has_weights_named_by_numbers": _weights({1: torch.zeros(1)}),
    "has_weights_of_another_network": _weights(
        OrderedDict({f"network.\x1b[31m{i}": torch.zeros(1) for i in range(9)})
    ),
}
"""The files of this module, by what each one does."""
