"""Throughput, learning rate, parameters and depth, once an epoch."""

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from contnet.ode.depth_time import depth_time


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

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
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
        depth = depth_time(network)
        if depth is not None and depth.n_basis is not None:
            figures["depth"] = float(depth.n_basis)
        pl_module.log_dict(figures, sync_dist=True)
        self._epoch_images = 0
        self._epoch_start = self._epoch_end
