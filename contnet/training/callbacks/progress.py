"""Progress on the screen: one line for each epoch, and on a terminal a bar below them."""

import logging
import sys
from multiprocessing import current_process
from typing import Any, TextIO

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from contnet.training.callbacks.bar import AboveBar, SlimProgress
from contnet.training.callbacks.pace import Pace

log = logging.getLogger(__name__)

SHOWN = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_accuracy_min")
"""Metrics in the line of an epoch; the last one exists where several manifestations are trained."""

REFRESHES_PER_SECOND = 4


class EpochLines(Callback):
    """Logs one line for each epoch, with figures of validation only if it has been validated."""

    def __init__(self) -> None:
        super().__init__()
        self._validated_at = -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated_at = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics  # which all processes compute together
        if not trainer.is_global_zero:
            return
        shown = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        for name in SHOWN:
            is_of_epoch = name.startswith("train_") or self._validated_at == trainer.current_epoch
            if name in metrics and is_of_epoch:
                shown.append(f"{name} {metrics[name]:.4f}")
        for name in ("n_f_evals", "n_accepted", "n_rejected"):
            if name in metrics:
                shown.append(f"{name} {metrics[name]:.1f}")
        if "lr" in metrics:  # without `Throughput` there is neither
            shown.append(f"lr {metrics['lr']:.4g}")
            shown.append(f"{metrics['images_per_second']:.0f} images/s")
        log.info("  ".join(shown))


class EpochBar(EpochLines, ProgressBar):
    """Shows a bar of one line below the lines of the epochs, and removes it at the end.

    It shows the batches of the epoch, images/s, and how long the run will take. What is logged or
    printed meanwhile appears above it. Only the first of several processes has a bar.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_enabled = True
        self._progress: Progress | None = None
        self._streams: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []
        self._pace = Pace()

    def disable(self) -> None:
        self._is_enabled = False

    def enable(self) -> None:
        self._is_enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pace = Pace()
        self._start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pace.begin_epoch()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._show(trainer, self._of_epoch(trainer), batch_idx, self.total_train_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._pace.add_batch(len(batch[1]) * trainer.world_size)
        self._show(trainer, self._of_epoch(trainer), batch_idx + 1, self.total_train_batches)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.has_dataloader_changed(dataloader_idx)
        total = self.total_val_batches_current_dataloader
        self._show(trainer, f"{self._of_epoch(trainer)} validation", batch_idx, total)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pace = Pace()
        self._start()

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.has_dataloader_changed(dataloader_idx)
        self._show(trainer, "test", batch_idx, self.total_test_batches_current_dataloader)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()

    def _of_epoch(self, trainer: Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"

    def _show(self, trainer: Trainer, title: str, done: int, total: float) -> None:
        if self._progress is None:
            return
        batches = f"{done}/{total}" if total != float("inf") else str(done)
        parts = [batches, *self._pace.told(n_batches_left(trainer))]
        self._progress.update(
            self._progress.task_ids[0],
            description=title,
            completed=done,
            total=total if total != float("inf") else None,
            told=" · ".join(parts),
        )

    def _start(self) -> None:
        if not self._is_enabled or self._progress is not None:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[told]}"),
        )
        self._progress = SlimProgress(
            *columns,
            console=Console(),
            transient=True,
            expand=True,
            refresh_per_second=REFRESHES_PER_SECOND,
        )
        self._progress.add_task("", total=None, told="")
        above: Any = AboveBar(self._progress.console)
        # A handler holds the stream that it was made with, and would write into the bar.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and _is_terminal(handler.stream):
                self._streams.append((handler, handler.stream))
                handler.setStream(above)
        self._progress.start()

    def _stop(self) -> None:
        if self._progress is None:
            return
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams = []
        self._progress.stop()
        self._progress = None


def n_batches_left(trainer: Trainer) -> float | None:
    """Return the number of batches until the end of a training; None if it has no end, or is over.

    Args:
        trainer: the Trainer, between two batches or after the last one.
    """
    if trainer.state.fn != "fit" or trainer.max_epochs in (None, -1):
        return None
    loop = trainer.fit_loop.epoch_loop
    done = trainer.current_epoch * trainer.num_training_batches + loop.batch_progress.current.ready
    left = trainer.max_epochs * trainer.num_training_batches - done
    if trainer.max_steps >= 0:
        steps_left = trainer.max_steps - trainer.global_step
        left = min(left, steps_left * trainer.accumulate_grad_batches)
    return left if 0 <= left < float("inf") else None


def _is_terminal(stream: TextIO) -> bool:
    """Return True for a terminal; a handler of another program may hold a closed stream."""
    return not stream.closed and stream.isatty()


def progress(bar: bool) -> Callback:
    """Return an `EpochBar` if `bar` is true and the screen is a terminal, else `EpochLines`.

    Jobs that run side by side in processes of a launcher share a terminal, and have no bars.
    """
    is_alone = current_process().name == "MainProcess"
    return EpochBar() if bar and is_alone and sys.stdout.isatty() else EpochLines()
