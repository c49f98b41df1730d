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
