"""The atomic write: a file holds its old content or its new content, never a part of it."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`, in a folder that exists.

    The content is written to `.<name>.<process id>` beside the file, flushed to the disk, and
    renamed. The unfinished file is removed when writing fails. It remains only where the process
    is killed.

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
