"""Atomic writing: a file holds all of its old content or all of its new content."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path` atomically; its folder must exist.

    The content is written to `.<name>.<process id>` in the same folder, flushed to the
    disk, and renamed. The unfinished file is removed if writing fails. It remains only if the
    process is killed.

    Raises:
        OSError: if the file cannot be written; `path` then keeps its old content.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def replace_and_keep(path: Path, new: Path, previous: Path | None) -> None:
    """Rename `new` to `path`, and keep what was there as `previous`, unless that is None.

    No byte is copied. At every instant `path` holds its old or its new content. Only on a file
    system without hard links is `path` missing for an instant, in which `previous` holds the old
    content.

    Raises:
        OSError: if a file cannot be renamed.
    """
    if previous is not None and path.exists():
        link = previous.with_name(f".{path.name}.{os.getpid()}")
        try:
            os.link(path, link)
        except OSError:
            path.replace(previous)
        else:
            link.replace(previous)
            # Renaming one of two names of the same file to the other leaves both.
            link.unlink(missing_ok=True)
    new.replace(path)
