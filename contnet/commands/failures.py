"""Translation of errors into messages: the key that is wrong, or what happened and what to do."""

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from contnet.commands.messages import explain
from contnet.errors import ConfigError, RunError
from contnet.ode.integrate import IntegrationError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")
REFUSALS = (
    InstantiationException,
    ValueError,
    TypeError,
    RuntimeError,
    MisconfigurationException,
)
NO_GPU = ("No supported gpu backend", "CUDAAccelerator` can not run")
"""What Lightning says where it finds no GPU."""

UNKNOWN_ARGUMENT = re.compile(
    r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
)


@contextmanager
def config_errors(group: str) -> Iterator[None]:
    """Translate the refusal of an argument into a `ConfigError` that names its key.

    Args:
        group: the group of the configuration that the arguments come from; "" for none.
    """
    try:
        yield
    except ConfigError:
        raise
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    except REFUSALS as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else None
        if isinstance(cause, ConfigError):  # names its key already
            raise ConfigError(str(cause)) from cause
        raise ConfigError(_refusal(group, cause or error)) from error


def _refusal(group: str, error: BaseException) -> str:
    message = " ".join(str(error).split())
    unknown = UNKNOWN_ARGUMENT.match(message)
    if unknown:
        name, key = unknown.groups()
        return (
            f"{group}.{key} is not an option of {name}; leave it out, or remove it with "
            f"~{group}.{key} where an experiment sets it"
        )
    if any(phrase in message for phrase in NO_GPU):
        return (
            f"{group}.accelerator must be cpu or auto on this machine: PyTorch finds no GPU here; "
            "on a machine with one, its driver or a PyTorch that was built for it is missing"
        )
    if not group:
        return message
    # Constructors of this package begin a refusal with the name of the argument, which is the key.
    first_word = message.partition(" ")[0].rstrip(":")
    is_key = first_word.isidentifier() and not first_word[0].isupper()
    return f"{group}.{message}" if is_key else f"{group}: {message}"


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate failures of a run that are no fault of the program into a `RunError`."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        answer = advice(error)
        if answer is None:
            raise
        raise RunError(answer) from error


def advice(error: Exception) -> str | None:
    """Return what happened and what to do, or None for an error that is not known."""
    return (
        _about_file(error)
        or _about_integration(error)
        or _about_memory(error)
        or _about_process(error)
        or _about_image(error)
    )


def _about_file(error: Exception) -> str | None:
    if not isinstance(error, OSError):
        return None
    file = f" {error.filename}" if error.filename else ""
    if error.errno in FULL:
        return f"no space left to write{file}; free some space, or choose a folder on another disk"
    if error.errno in FORBIDDEN:
        return f"no permission to write{file}; choose another folder"
    return None


def _about_integration(error: Exception) -> str | None:
    if not isinstance(error, IntegrationError) and not _is_of_torchdiffeq(error):
        return None
    # The backward pass of gradient=adjoint is torch's, which passes torchdiffeq's error on.
    what = str(error)
    if not isinstance(error, IntegrationError):
        not_finite = "nan" in what.lower() or "non-finite" in what
        reason = "it is not finite" if not_finite else " ".join(what.split())
        what = f"the gradient cannot be integrated by scheme.gradient=adjoint: {reason}"
    return (
        f"{what}; lower optimizer.lr if the loss has grown, increase scheme.rtol and scheme.atol "
        "or scheme.max_num_steps, or choose a fixed-step scheme"
    )


def _is_of_torchdiffeq(error: Exception) -> bool:
    """Return True for an error that a solver has raised, and not the rate that it evaluates."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    module = str(frames[-1].f_globals.get("__name__")) if frames else ""
    return isinstance(error, AssertionError) and module.startswith("torchdiffeq.")


def _about_memory(error: Exception) -> str | None:
    phrases = (phrase in str(error).lower() for phrase in OUT_OF_MEMORY)
    if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(phrases):
        return None
    return (
        "out of memory; lower dataset.batch_size, dataset.test_batch_size, dataset.memory_gb or "
        "model.alpha"
    )


def _about_process(error: Exception) -> str | None:
    text = str(error)
    killed = "killed" in text or "exited unexpectedly" in text
    # The connection to a worker may break before the loader notices that the worker is gone. Torch
    # raises no ConnectionError for connections between processes that train together.
    if ("DataLoader worker" in text and killed) or isinstance(error, ConnectionError | EOFError):
        return (
            "a process that prepares batches was killed, often because memory ran out; "
            "lower dataset.num_workers"
        )
    if "closed by peer" in text or "reset by peer" in text:
        return "connection lost: another process of this run has ended; see its own message"
    return None


def _about_image(error: Exception) -> str | None:
    # Raised here, or in a process that prepares batches, whose traceback is in the message.
    _, found, image = str(error).rpartition("root: cannot use ")
    return f"dataset.root: cannot use {image.splitlines()[0]}" if found else None
