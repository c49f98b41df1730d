"""The claim of a command to the folder that it writes to.

A claim is a lock on a file in the folder. The operating system gives it to one process, and takes
it back when that process ends, however it ends. So no claim of a killed run is left behind, and a
child of the process, such as one that prepares batches, does not hold it.

This module is imported before torch is.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TextIO

from contnet.errors import ConfigError
from contnet.processes import rank

LOCK = ".lock"
"""The file in a folder that its command locks; it holds the number of the process."""

HELD = {errno.EACCES, errno.EAGAIN}
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class HeldError(ConfigError):
    """A folder that another process writes to."""


class Claim:
    """A folder that this process holds, until `release`.

    Args:
        folder: the folder.
        file: the file in it that is locked, open.
    """

    def __init__(self, folder: Path, file: TextIO) -> None:
        self.folder = folder
        self._file = file

    def release(self) -> None:
        """Give the folder back, and remove the file of the lock."""
        path = self.folder / LOCK
        if _is_at(path, self._file):
            path.unlink()
        self._file.close()


def claims_folders() -> bool:
    """Return True in the process that writes, of those that train together.

    torchrun, SLURM or Lightning has started the others. They share its folder.
    """
    return rank() == 0 and all(
        int(os.environ.get(name, "0")) == 0 for name in ("LOCAL_RANK", "NODE_RANK")
    )


def claim(folder: Path) -> Claim:
    """Claim a folder, and make it if it is missing.

    A file system that has no locks gives every claim.

    Raises:
        HeldError: if another process holds it.
        OSError: if it cannot be made or written to, or its lock is a link.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        file = _opened(folder / LOCK)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in HELD | WITHOUT_LOCKS:
                file.close()
                raise
            if error.errno in HELD:
                holder = _text(file) or "another process"
                file.close()
                raise HeldError(f"{holder} is running") from error
        # The process that held the lock before may have removed the file in the meantime.
        if _is_at(folder / LOCK, file):
            break
        file.close()
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return Claim(folder, file)


def claim_new(folder: Path) -> tuple[Path, Claim]:
    """Make a folder that was not there, claim it, and return its path with the claim.

    The name is that of `folder`; the second folder of that name gets `-1`, the third `-2`.

    Raises:
        OSError: if no folder can be made there.
    """
    for number in count():
        path = folder.with_name(f"{folder.name}-{number}") if number else folder
        try:
            path.mkdir(parents=True)
            return path, claim(path)
        except (FileExistsError, HeldError):
            # Not the error of a file that stands where a folder of the path should be.
            if not path.is_dir():
                raise
    raise AssertionError("count() has no end")


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder inside the context.

    Raises:
        HeldError: if another process holds it.
    """
    held = claim(folder)
    try:
        yield
    finally:
        held.release()


def _opened(path: Path) -> TextIO:
    """Open a file, made if it is missing, but not through a link that somebody else has made."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, mode=0o666), "a+", encoding="utf-8")


def _is_at(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _text(file: TextIO) -> str:
    file.seek(0)
    text = file.read(200)
    return text if text.isprintable() else ""
