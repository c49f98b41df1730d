"""The file of a checkpoint: a zip archive in the layout of `torch.save`.

An archive holds the stream `<name>/data.pkl`, which describes a tree of containers, and the bytes
of each tensor in `<name>/data/<key>`. All are stored as they are, without compression.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MOST_BYTES = 64 * 2**20
"""The longest stream that is read. That of 10,000 tensors has about 2 MB."""


class MalformedError(ValueError):
    """A file that is no checkpoint: its message says what is wrong with it."""


@dataclass(frozen=True)
class Archive:
    """The stream of a checkpoint, and the sizes of what it refers to.

    Args:
        stream: the content of `data.pkl`.
        sizes: the bytes of each `data/<key>`, by key.
    """

    stream: bytes
    sizes: dict[str, int]

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read the stream of an archive, and none of its tensors.

        Raises:
            MalformedError: if the file is no archive of this layout, is damaged, or would inflate.
            OSError: if it cannot be read.
        """
        try:
            with zipfile.ZipFile(path) as file:
                entries = _entries(file, path.stat().st_size)
                stream = file.read(entries["data.pkl"])
                order = entries.get("byteorder")
                little = order is None or file.read(order) == b"little"
        except (
            zipfile.BadZipFile,
            ValueError,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise MalformedError(str(error) or "not a zip archive") from error
        if not little:
            raise MalformedError("its numbers are in the byte order of another machine")
        tensors = {name: entry for name, entry in entries.items() if name.startswith("data/")}
        sizes = {name.removeprefix("data/"): entry.file_size for name, entry in tensors.items()}
        return cls(stream, sizes)


def _entries(file: zipfile.ZipFile, n_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by their names within the one folder of the archive.

    There is one way to read an archive that passes: no name is there twice, nothing stands before
    or after it, and all its contents together are no larger than the file.
    """
    entries = file.infolist()
    names = [entry.filename.casefold() for entry in entries]
    if len(set(names)) < len(names):
        raise MalformedError("the archive holds a name twice")
    plain = all(
        entry.compress_type == zipfile.ZIP_STORED
        and entry.compress_size == entry.file_size
        and not entry.flag_bits & 1
        for entry in entries
    )
    if not plain or sum(entry.file_size for entry in entries) > n_bytes:
        raise MalformedError(
            "the archive is compressed or encrypted; torch.save stores plain contents"
        )
    if file.comment or min((entry.header_offset for entry in entries), default=-1) != 0:
        raise MalformedError("something stands before or after the archive")
    folders = {entry.filename.partition("/")[0] for entry in entries}
    if len(folders) != 1:
        raise MalformedError("the archive must hold one folder")
    inside = {entry.filename.partition("/")[2]: entry for entry in entries}
    if "data.pkl" not in inside or inside["data.pkl"].file_size > MOST_BYTES:
        raise MalformedError(f"the archive must hold data.pkl, of at most {MOST_BYTES:,} bytes")
    return inside
