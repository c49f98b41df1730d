"""Progress on the screen: a bar on a terminal, otherwise one line for each epoch."""

import logging
import sys

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

log = logging.getLogger(__name__)

SHOWN = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_accuracy_min")
"""Metrics in the line of an epoch; the last one exists where several manifestations are trained."""


class EpochLines(Callback):
    """Logs one line for each epoch, with figures of validation only if it has been validated."""

    def __init__(self) -> None:
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


def progress(bar: bool) -> Callback:
    """Return a progress bar if `bar` is true and the screen is a terminal, else `EpochLines`."""
    return RichProgressBar() if bar and sys.stdout.isatty() else EpochLines()
