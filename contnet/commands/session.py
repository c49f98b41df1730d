"""The command under way in this process.

Hydra makes its callbacks itself, from names in the configuration, and passes nothing through to
them. So they look up here what belongs to the command. The processes that a launcher starts for the
jobs of a sweep have no session.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from contnet.runs.claim import Claim
from contnet.runs.folder import Snapshot


@dataclass
class Session:
    """A command while it is under way.

    Args:
        command: `train` or `evaluate`.
        wants_traceback: show the traceback of every error (HYDRA_FULL_ERROR=1).
        folder: the folder of the job that started last; None before the first one.
        sweep: the folder of the sweep; None for a single run.
        snapshots: the records of the runs that it may overwrite, as they were before.
        claims: the folders that it holds.
    """

    command: str
    wants_traceback: bool
    folder: Path | None = None
    sweep: Path | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


_SESSION: ContextVar[Session | None] = ContextVar("session", default=None)


@contextmanager
def session(command: str, wants_traceback: bool) -> Iterator[Session]:
    """Open the session of a command.

    At its end, restore the records of runs that it has not changed, and give its folders back.
    """
    opened = Session(command, wants_traceback)
    token = _SESSION.set(opened)
    try:
        yield opened
    finally:
        _SESSION.reset(token)
        for snapshot in opened.snapshots:
            snapshot.restore()
        for claim in opened.claims:
            claim.release()


def current() -> Session | None:
    """Return the session of this process, or None in a process that a launcher has started."""
    return _SESSION.get()
