"""The callback that saves the state of a run, and stops the run on a signal.

The checkpoint of a run is saved at the end of every epoch, every `every_n_minutes` minutes if that
is set, when the run is stopped (SIGTERM, SIGUSR1, Ctrl-C) and when it fails. A checkpoint from the
middle of an epoch holds the position in the data and the sums of the metrics. So the resumed run
ends like a run that was never stopped.
"""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import distributed

from contnet import arguments
from contnet.errors import StopRun
from contnet.runs.folder import LAST
from contnet.training.callbacks.divergence import DivergedError

REQUEUE = 75
"""Exit code of a run that was stopped and can be resumed: EX_TEMPFAIL of sysexits.h."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""

BATCHES_BETWEEN_AGREEMENTS = 10
"""Number of batches after which several processes agree to stop or go on, by a message."""


class LastCheckpoint(Checkpoint):
    """Saves the state of a run in `dirpath`, and ends the run after SIGTERM, SIGUSR1 or Ctrl-C.

    Args:
        dirpath: folder of the checkpoint.
        every_n_minutes: minutes between checkpoints within an epoch; None saves only at its end.

    Raises:
        ValueError: if `every_n_minutes` is not positive.
        StopRun: during training, after the checkpoint has been saved.
    """

    def __init__(self, dirpath: str, every_n_minutes: float | None = None) -> None:
        if every_n_minutes is not None:
            arguments.number("every_n_minutes", every_n_minutes, minimum=0, exclusive=True)
        self.path = Path(dirpath) / LAST.name
        self.every_n_minutes = every_n_minutes
        self._saved_at = 0.0
        self._signal = 0
        self._is_training = False
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._signal = 0
        self._is_training = True
        if trainer.is_global_zero:
            # A run that was killed while it wrote has left an unfinished file.
            for unfinished in self.path.parent.glob(f".{self.path.name}.*"):
                unfinished.unlink()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._signal:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait for the end of the batch
        self._signal = number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The end of the epoch has its own checkpoint. A checkpoint has no accumulated gradients.
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if trainer.world_size > 1 and (batch_idx + 1) % BATCHES_BETWEEN_AGREEMENTS:
            return
        minutes = (time.monotonic() - self._saved_at) / 60
        due = self.every_n_minutes is not None and minutes >= self.every_n_minutes
        stop, save = _agreed(trainer, self._signal, due)
        if stop or save:
            self._save(trainer)
        if stop:
            _stop(trainer, stop)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        stop, _ = _agreed(trainer, self._signal, False)
        max_epochs = trainer.max_epochs
        finished = max_epochs is not None and trainer.current_epoch + 1 >= max_epochs
        if stop and not finished:
            _stop(trainer, stop)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        # Do not save in one of several processes: the others would have to take part. Do not save
        # before training: the state may be half restored. Do not save during validation: the epoch
        # is not finished, it cannot be resumed from there, and the weights may be an average.
        can_save = trainer.world_size == 1 and self._is_training and not trainer.validating
        if can_save and not isinstance(exception, StopRun | DivergedError | OSError):
            self._save(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._is_training = False
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()


def _stop(trainer: Trainer, number: int) -> None:
    code = INTERRUPTED if number == signal.SIGINT else REQUEUE
    # Lightning reports a process that it has started as failed if the exit code is not 0.
    raise StopRun(
        f"stopped by {signal.Signals(number).name} at step {trainer.global_step}",
        code if trainer.is_global_zero else 0,
    )


def _agreed(trainer: Trainer, stop: int, save: bool) -> tuple[int, bool]:
    """Return the signal that any process has received, and whether any process wants to save."""
    if trainer.world_size == 1:
        return stop, save
    wishes = torch.tensor([stop, int(save)], device=trainer.strategy.root_device)
    distributed.all_reduce(wishes, op=distributed.ReduceOp.MAX)
    return int(wishes[0]), bool(wishes[1])
