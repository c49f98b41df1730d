"""Accidents have answers: what went wrong while a run was under way, in one line that says what to do."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hydra.errors import (
    InstantiationException,
)
from omegaconf.errors import (
    OmegaConfBaseException,
)
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from contnet.commands.messages import explain
from contnet.errors import ConfigError, RunError
from contnet.ode.integrate import IntegrationError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


@contextmanager
def explained() -> Iterator[None]:
    """Turns what can happen to a run, and is no fault of the program's, into a `RunError`."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        answer = explanation(error)
        if answer is None:
            raise
        raise RunError(answer) from error


def explanation(error: Exception) -> str | None:
    """What happened and what to do, if it is known."""
    text = str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return f"there is no room left to write{_file(error)}; free some, or choose a folder on another disk"
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        return f"it is not allowed to write{_file(error)}; choose another folder"
    if isinstance(error, IntegrationError):
        return f"{text}; a larger scheme.rtol and scheme.atol, or a fixed-step scheme, may do"
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if out_of_memory or any(phrase in text.lower() for phrase in OUT_OF_MEMORY):
        return "out of memory; lower dataset.batch_size, dataset.test_batch_size, dataset.memory_gb or model.alpha"
    # The connection may break before the loader finds its worker gone; torch's connections between processes that
    # train together raise no ConnectionError.
    worker_killed = "DataLoader worker" in text and (
        "killed" in text or "exited unexpectedly" in text
    )
    if worker_killed or isinstance(error, ConnectionError | EOFError):
        return "a process that prepares batches was killed, often for want of memory; lower dataset.num_workers"
    if "closed by peer" in text or "reset by peer" in text:
        return "another process of this run has ended; its own message says why"
    # An image that cannot be read, here or (with a traceback in the message) in a process that prepares batches.
    _, found, what = text.rpartition("root: cannot use ")
    return f"dataset.root: cannot use {what.splitlines()[0]}" if found else None


def _file(error: OSError) -> str:
    return f" {error.filename}" if error.filename else ""


UNKNOWN_ARGUMENT = re.compile(
    r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
)


@contextmanager
def naming(group: str) -> Iterator[None]:
    """Turns the refusal of an argument into a `ConfigError` that names its key."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    except (
        InstantiationException,
        ValueError,
        TypeError,
        RuntimeError,
        MisconfigurationException,
    ) as error:
        if isinstance(error, ConfigError):
            raise
        cause = (
            error.__cause__
            if isinstance(error, InstantiationException) and error.__cause__
            else error
        )
        message = " ".join(str(cause).split())
        unknown = UNKNOWN_ARGUMENT.match(message)
        if unknown:
            name, key = unknown.groups()
            hint = f"leave it out, as ~{group}.{key} where an experiment gives it"
            raise ConfigError(f"{group}.{key} is no option of {name}; {hint}") from error
        # Our own constructors open a refusal with the argument's name, which is the key.
        first_word = message.partition(" ")[0].rstrip(":")
        is_key = first_word.isidentifier() and not first_word[0].isupper()
        raise ConfigError(
            f"{group}{'.' if is_key else ': '}{message}" if group else message
        ) from error
