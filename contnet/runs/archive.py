"""The file of a checkpoint: a zip archive in the layout of `torch.save`.

An archive holds the stream `<name>/data.pkl`, which describes a tree of containers, and the bytes
of each storage of tensors in `<name>/data/<key>`. All are stored without compression.
"""

import zipfile
from pathlib import Path
from types import TracebackType
from typing import Self

MOST_BYTES = 64 * 2**20
"""The longest stream that is read. That of 10,000 tensors has about 2 MB."""


class MalformedError(ValueError):
    """A file that is no checkpoint: its message says what is wrong with it."""


class Archive:
    """An open archive, of which the stream has been read.

    Args:
        path: the file.

    Raises:
        MalformedError: if the file is no archive of this layout, is damaged, or would inflate.
        OSError: if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            raise MalformedError(str(error) or "not a zip archive") from error
        try:
            self._entries = _entries(self._file, path.stat().st_size)
            self.stream = self._file.read(self._entries["data.pkl"])
            order = self._entries.get("byteorder")
            if order is not None and self._file.read(order) != b"little":
                raise MalformedError("its numbers are in the byte order of another machine")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def size(self, key: str) -> int:
        """Return the number of bytes of a storage.

        Raises:
            KeyError: if the archive does not hold it.
        """
        return self._entries[f"data/{key}"].file_size

    def read(self, key: str) -> bytearray:
        """Return the bytes of a storage.

        Raises:
            MalformedError: if they are damaged.
        """
        try:
            content = bytearray(self._file.read(self._entries[f"data/{key}"]))
        except (zipfile.BadZipFile, EOFError) as error:
            raise MalformedError(str(error)) from error
        if len(content) != self.size(key):
            raise MalformedError("the archive breaks off")
        return content


def _entries(file: zipfile.ZipFile, n_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by their names within the one folder of the archive."""
    entries = file.infolist()
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
    inside = {entry.filename.partition("/")[2]: entry for entry in entries}
    if len(inside) < len(entries):
        raise MalformedError("the archive holds a name twice")
    if "data.pkl" not in inside or inside["data.pkl"].file_size > MOST_BYTES:
        raise MalformedError(f"the archive must hold data.pkl, of at most {MOST_BYTES:,} bytes")
    return inside
