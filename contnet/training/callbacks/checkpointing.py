"""The callback that saves the state of a run, and stops the run on a signal.

The checkpoint of a run is saved at the end of every epoch, every `every_n_minutes` minutes if that
is set, when the run is stopped (by one of `signals.TERMINATING`, or Ctrl-C) and when it fails. A
checkpoint from the middle of an epoch holds the position in the data and the sums of the metrics.
So the resumed run ends like a run that was never stopped. The checkpoint before it is kept as well,
for the case that the last one is damaged.
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
from contnet.runs.atomic import replace_and_keep
from contnet.runs.folder import LAST, PREVIOUS
from contnet.runs.signals import (
    INTERRUPTED,
    REQUEUE,
    TERMINATING,
    call_earlier,
    may_be_handled,
)
from contnet.training.callbacks.divergence import DivergedError

BATCHES_BETWEEN_AGREEMENTS = 10
"""Number of batches after which several processes agree to stop or go on, by a message."""


class LastCheckpoint(Checkpoint):
    """Saves the state of a run in `dirpath`, and ends the run when a signal tells it to.

    The first signal counts: it stops the run after the batch that is under way. Once the checkpoint
    has been saved, the handler that the signal had before is called, such as that of a launcher. A
    second Ctrl-C does not wait for the end of the batch. All other signals after the first one
    change nothing.

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
        self._is_saving = False
        self._is_whole = False
        self._ends_within_epoch = False
        self._handlers: dict[int, Any] = {}

    @property
    def is_of_this_run(self) -> bool:
        """True if the run has saved its checkpoint, or was resumed from it."""
        return self._is_whole

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A last checkpoint that the run was not resumed from may be damaged.
        resumed = trainer.ckpt_path
        self._is_whole = resumed is not None and Path(resumed).resolve() == self.path.resolve()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._signal = 0
        self._is_training = True
        if trainer.is_global_zero:
            # A run that was killed while it wrote has left unfinished files.
            for unfinished in (*self.path.parent.glob(f".{self.path.name}.*"), self._next):
                unfinished.unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            for number in (*TERMINATING, signal.SIGINT):
                if may_be_handled(number):
                    self._handlers[number] = signal.signal(number, self._on_signal)

    @property
    def _next(self) -> Path:
        return self.path.with_name(f"{self.path.name}.next")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._signal:
            self._signal = number
        elif number == self._signal == signal.SIGINT and not self._is_saving:
            raise KeyboardInterrupt

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
        # A run that max_steps, max_time or a callback ends within an epoch can go on from there.
        # After the end of the epoch its position in the epoch would be lost.
        self._ends_within_epoch = (
            trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step
        )
        stop, save = _agreed(trainer, self._signal, due)
        if stop or save or self._ends_within_epoch:
            self._save(trainer)
        if stop:
            self._stop(trainer, stop)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_last_batch or not self._ends_within_epoch:
            self._save(trainer)
        # After the last epoch as well: the test may take longer than the time that is left, and a
        # sweep would begin its next job.
        stop, _ = _agreed(trainer, self._signal, False)
        if stop:
            self._stop(trainer, stop)

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
            if signal.getsignal(number) == self._on_signal:  # else Lightning has restored it
                signal.signal(number, handler)
        self._handlers = {}

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._is_saving = True
        try:
            trainer.save_checkpoint(self._next)
            if trainer.is_global_zero:
                previous = self.path.with_name(PREVIOUS.name) if self._is_whole else None
                replace_and_keep(self.path, self._next, previous)
        finally:
            self._is_saving = False
        self._is_whole = True
        self._saved_at = time.monotonic()

    def _stop(self, trainer: Trainer, number: int) -> None:
        """End the run, after the handler that the signal had before has been called."""
        code = INTERRUPTED if number == signal.SIGINT else REQUEUE
        # Lightning reports a process that it has started as failed if the exit code is not 0.
        stop = StopRun(
            f"stopped by {signal.Signals(number).name} at step {trainer.global_step}",
            code if trainer.is_global_zero else 0,
        )
        try:
            if number != signal.SIGINT:
                call_earlier(self._handlers.get(number), number, None)
        finally:
            # Whatever that handler does: the exit code says that the run can be resumed.
            raise stop


def _agreed(trainer: Trainer, stop: int, save: bool) -> tuple[int, bool]:
    """Return the signal that any process has received, and whether any process wants to save."""
    if trainer.world_size == 1:
        return stop, save
    wishes = torch.tensor([stop, int(save)], device=trainer.strategy.root_device)
    distributed.all_reduce(wishes, op=distributed.ReduceOp.MAX)
    return int(wishes[0]), bool(wishes[1])
