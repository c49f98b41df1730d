"""What a run shows while it trains: progress on the screen, and figures beside loss and accuracy in the loggers."""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

log = logging.getLogger(__name__)


def quieten() -> None:
    """Leave out what Lightning says of itself; what it has to say of a run's settings stays."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    remarks = (
        "does not have many workers",
        "exists and is not empty",
        "dirpath has changed",
        "have no `val_dataloader`",
        "logging interval",
        "LeafSpec",
    )
    for remark in remarks:
        warnings.filterwarnings("ignore", message=f".*{remark}")


@contextmanager
def steps(total: int, title: str) -> Iterator[Callable[[str], None]]:
    """A function to call with a line after each of `total` steps: a bar where a person watches, else the lines."""
    console = Console()
    if not console.is_terminal:
        done = count(1)
        yield lambda line: log.info("%s %d/%d  %s", title, next(done), total, line)
        return
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress:
        task = progress.add_task(title, total=total)
        yield lambda line: progress.update(task, advance=1, description=line)


class Throughput(Callback):
    """Logs images/s, learning rate, parameter count and depth once an epoch, and keeps the run's totals, those before a
    resume included."""

    def __init__(self) -> None:
        self.train_seconds = 0.0
        self.n_images = 0
        self._epoch_images = 0
        self._epoch_start = 0.0
        self._epoch_end = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "train_seconds": self.train_seconds + self._epoch_end - self._epoch_start,
            "n_images": self.n_images + self._epoch_images,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.train_seconds = state_dict["train_seconds"]
        self.n_images = state_dict["n_images"]

    @property
    def images_per_second(self) -> float:
        """Training images over seconds of training, validation and checkpoints left out."""
        return self.n_images / self.train_seconds if self.train_seconds else 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._epoch_images == 0:
            self._epoch_start = self._epoch_end = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._epoch_images += len(batch[1]) * trainer.world_size
        self._epoch_end = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = self._epoch_end - self._epoch_start
        self.train_seconds += seconds
        self.n_images += self._epoch_images
        network: Any = pl_module.network
        figures = {
            "images_per_second": self._epoch_images / seconds,
            "parameters": float(sum(parameter.numel() for parameter in network.parameters())),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        if hasattr(network, "n_basis"):
            figures["depth"] = float(network.n_basis)
        pl_module.log_dict(figures, sync_dist=True)
        self._epoch_images = 0
        self._epoch_start = self._epoch_end


class LastEpoch(Callback):
    """Keeps the figures of the last finished epoch, in checkpoints too: Lightning logs them after it has written the
    epoch's checkpoint, and a run that ends in between has them from there."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self._step = 0
        self._validated_at = -1
        self._n_steps = 0

    def state_dict(self) -> dict[str, Any]:
        return {"figures": self.figures, "step": self._step, "validated_at": self._validated_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.figures = state_dict["figures"]
        self._step = state_dict["step"]
        self._validated_at = state_dict["validated_at"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._n_steps = checkpoint["global_step"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.figures or self._step + 1 != self._n_steps:
            return  # the checkpoint is of a later moment, and these are logged
        is_validated = self._validated_at == self.figures["epoch"]
        figures = {k: v for k, v in self.figures.items() if is_validated or not k.startswith("val_")}
        for logger in trainer.loggers:
            logger.log_metrics(figures, self._step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated_at = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # All processes compute them together; those of an older validation may be among them.
        metrics = trainer.callback_metrics
        self.figures = {"epoch": trainer.current_epoch, **{name: float(value) for name, value in metrics.items()}}
        self._step = trainer.global_step - 1  # under which Lightning logs them


class EpochLines(Callback):
    """One line an epoch, for logs and other places where a progress bar would be noise."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics  # which all processes compute together
        if not trainer.is_global_zero:
            return
        shown = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            if name in metrics:
                shown.append(f"{name} {metrics[name]:.4f}")
        shown.append(f"lr {metrics['lr']:.4g}")
        shown.append(f"{metrics['images_per_second']:.0f} images/s")
        log.info("  ".join(shown))


def progress(bar: bool) -> Callback:
    """A progress bar where one is wanted and a person watches, else a line an epoch."""
    return RichProgressBar() if bar and sys.stdout.isatty() else EpochLines()
