"""Nothing is lost: how a run keeps its state, and stops where it is told to.

`last.ckpt` is written at the end of every epoch, every so many minutes if that is asked for, when the run is told to
stop (SIGTERM, SIGUSR1, Ctrl-C) and when it fails. A checkpoint in the middle of an epoch holds the position in its data
and the sums of its metrics, so that the resumed run ends as the one that was never stopped.
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
from contnet.training.callbacks.divergence import DivergedError

REQUEUE = 75
"""Exit code of a run that was told to stop and can go on: EX_TEMPFAIL of sysexits.h, `try again later`."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

# Several processes have to agree on where to stop, which takes a message between them.
BATCHES_BETWEEN_AGREEMENTS = 10


class LastCheckpoint(Checkpoint):
    """Keeps the state of a run in `dirpath/last.ckpt`.

    Args:
        dirpath: folder of the checkpoint.
        every_n_minutes: save so often within an epoch; None saves at its end alone.

    Raises:
        ValueError: if `every_n_minutes` is not positive.
    """

    def __init__(self, dirpath: str, every_n_minutes: float | None = None) -> None:
        if every_n_minutes is not None:
            arguments.number("every_n_minutes", every_n_minutes, minimum=0, exclusive=True)
        self.path = Path(dirpath) / "last.ckpt"
        self.every_n_minutes = every_n_minutes
        self._saved_at = 0.0
        self._told_to_stop = 0
        self._is_training = False
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._told_to_stop = 0
        self._is_training = True
        if trainer.is_global_zero:
            for unfinished in self.path.parent.glob(
                f".{self.path.name}.*"
            ):  # of a run that was killed while it wrote
                unfinished.unlink()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._told_to_stop:
            raise KeyboardInterrupt  # who asks twice does not want to wait for the batch
        self._told_to_stop = number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The end of the epoch has a checkpoint of its own; and gradients that are being summed up are not kept.
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if trainer.world_size > 1 and (batch_idx + 1) % BATCHES_BETWEEN_AGREEMENTS:
            return
        minutes = (time.monotonic() - self._saved_at) / 60
        due = self.every_n_minutes is not None and minutes >= self.every_n_minutes
        stop, save = self._agreed(trainer, self._told_to_stop, due)
        if stop or save:
            self._save(trainer)
        if stop:
            self._stop(trainer, stop)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        stop, _ = self._agreed(trainer, self._told_to_stop, False)
        finished = (
            trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        )
        if stop and not finished:
            self._stop(trainer, stop)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        # One of several processes cannot save by itself, and what has diverged is not worth keeping. While an epoch is
        # validated it is neither finished nor to be gone on with, and an average may stand in for the weights. And
        # before the first batch a checkpoint may be only half restored.
        whole = trainer.world_size == 1 and self._is_training and not trainer.validating
        if whole and not isinstance(exception, StopRun | DivergedError | OSError):
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

    def _stop(self, trainer: Trainer, number: int) -> None:
        code = INTERRUPTED if number == signal.SIGINT else REQUEUE
        name = signal.Signals(number).name
        # Lightning takes a process of its own making that ends with another code for one that has failed.
        raise StopRun(
            f"stopped by {name} at step {trainer.global_step}",
            code if trainer.is_global_zero else 0,
        )

    def _agreed(self, trainer: Trainer, stop: int, save: bool) -> tuple[int, bool]:
        """The signal that any process has had, and whether any wants to save."""
        if trainer.world_size == 1:
            return stop, save
        wishes = torch.tensor([stop, int(save)], device=trainer.strategy.root_device)
        distributed.all_reduce(wishes, op=distributed.ReduceOp.MAX)
        return int(wishes[0]), bool(wishes[1])
