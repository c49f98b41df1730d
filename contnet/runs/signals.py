"""The signals that tell a run to end, and what a process does when it is told.

This module is imported before torch is.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from contnet.errors import StopRun

TERMINATING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""A cluster sends SIGTERM, SIGUSR1 or SIGUSR2 before it takes the machine back, and a terminal that
is closed sends SIGHUP."""

REQUEUE = 75
"""Exit code of a run that was stopped and can be resumed: EX_TEMPFAIL of sysexits.h."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""


def may_be_handled(number: int) -> bool:
    """Return False for a signal that is to be ignored, as SIGHUP is under nohup.

    It is also False where another program than Python has set a handler, which cannot be restored.
    """
    return signal.getsignal(number) not in (signal.SIG_IGN, None)


def call_earlier(handler: Any, number: int, frame: FrameType | None) -> None:
    """Call the handler that a signal had before, unless that was the system's own."""
    if callable(handler):
        handler(number, frame)


def hang_up() -> None:
    """Stop a run that trains, as when its terminal is closed; at other times do nothing."""
    handler = signal.getsignal(signal.SIGHUP)
    if callable(handler) and not isinstance(getattr(handler, "__self__", None), _Ending):
        signal.raise_signal(signal.SIGHUP)


class _Ending:
    """The handlers of a process that ends at the first signal, and ignores those after it."""

    def __init__(self) -> None:
        self.is_told = False
        self._owner = os.getpid()

    def stop(self, number: int, frame: FrameType | None) -> None:
        # A process that prepares batches ends with the one that it works for.
        if self.is_told or os.getpid() != self._owner:
            return
        self.is_told = True
        raise StopRun(f"stopped by {signal.Signals(number).name}", REQUEUE)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self.is_told:
            signal.default_int_handler(number, frame)


@contextmanager
def ends_when_told() -> Iterator[None]:
    """Turn a signal that would kill the process into `StopRun` inside the context.

    While a network trains, the callback `LastCheckpoint` has handlers that save first. A process
    that has been told to end ignores all further signals until it has ended. So its exit code is
    certain. Otherwise the handlers are as before at the end of the context. A handler of another
    program, such as a launcher, stays.

    Raises:
        StopRun: inside the context, at such a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = _Ending()
    before = {n: signal.getsignal(n) for n in TERMINATING if signal.getsignal(n) == signal.SIG_DFL}
    for number in before:
        signal.signal(number, ending.stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.default_int_handler
        signal.signal(signal.SIGINT, ending.interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ending.is_told else handler)
