"""The output of a command whose reader may go away, as in `train.py | head`.

This module is imported before torch is.
"""

import io
import os
import stat
import sys
from typing import Any, TextIO

from contnet.runs.signals import hang_up


class _MayBreak(io.FileIO):
    """A pipe that drops what is written to it once nobody reads it any more."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            hang_up()  # each time: at the first one, the run may not train yet
            return len(content)


def survive_broken_pipes() -> None:
    """Let standard output and errors be pipes that break.

    From then on nothing is shown, and a run that trains, or begins to, is stopped as if its
    terminal had been closed: it saves its state first.
    """
    sys.stdout, sys.stderr = _surviving(sys.stdout), _surviving(sys.stderr)


def _surviving(stream: TextIO) -> TextIO:
    try:
        kind = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):  # a stream without a file, or a closed one
        return stream
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_MayBreak(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream is sys.stderr,
    )
