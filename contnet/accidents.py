"""Accidents have answers: what went wrong while a run was under way, in one line that says what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, distributed

from contnet.errors import RunError
from contnet.integrate import IntegrationError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")
STEPS_BETWEEN_LOOKS = 50


class DivergedError(RunError):
    """The loss is no number any more."""


class DivergenceWatch(Callback):
    """Ends a run whose loss is infinite or no number.

    On a GPU a look at the loss makes the program wait for it, and between processes it takes a message: there it looks
    every so many steps, but always before a checkpoint is written, and names the step where it began all the same.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first = torch.full((), -1, dtype=torch.int64, device=pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss: Tensor = outputs["loss"]
        begins = ~loss.detach().isfinite() & (self._first < 0)
        self._first = torch.where(begins, trainer.global_step - 1, self._first)
        at_once = trainer.world_size == 1 and self._first.device.type == "cpu"
        if at_once or trainer.is_last_batch or (batch_idx + 1) % STEPS_BETWEEN_LOOKS == 0:
            self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        if trainer.world_size > 1:
            distributed.all_reduce(self._first, op=distributed.ReduceOp.MAX)
        step = int(self._first)
        if step < 0:
            return
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        raise DivergedError(
            f"the loss is infinite or not a number since step {step} (epoch {trainer.current_epoch}, lr {lr:g}); "
            "lower optimizer.lr, set trainer.gradient_clip_val or model.use_skipinit=true, or train in float32"
        )


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
    worker_killed = "DataLoader worker" in text and ("killed" in text or "exited unexpectedly" in text)
    if worker_killed or isinstance(error, ConnectionError | EOFError):
        return "a process that prepares batches was killed, often for want of memory; lower dataset.num_workers"
    if "closed by peer" in text or "reset by peer" in text:
        return "another process of this run has ended; its own message says why"
    # An image that cannot be read, here or (with a traceback in the message) in a process that prepares batches.
    _, found, what = text.rpartition("root: cannot use ")
    return f"dataset.root: cannot use {what.splitlines()[0]}" if found else None


def _file(error: OSError) -> str:
    return f" {error.filename}" if error.filename else ""
