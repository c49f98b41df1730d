"""Throughput, cost, learning rate, number of parameters and depth of each epoch."""

import time
from dataclasses import asdict, fields
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from contnet.metrics import n_parameters
from contnet.ode.adaptive import Effort
from contnet.ode.depth_time import depth_time


class Throughput(Callback):
    """Logs images/s, learning rate, number of parameters and depth, once an epoch.

    Where batches differ in their number of rate evaluations, it also logs the mean over the
    training batches of the epoch as `n_f_evals`. With an embedded pair, it logs the means of the
    steps that were accepted and rejected as `n_accepted` and `n_rejected`.

    `n_images` and `train_seconds` are the totals of the run, including the part before a resume.
    Validation and checkpoints do not count as seconds of training.
    """

    def __init__(self) -> None:
        self.train_seconds = 0.0
        self.n_images = 0
        self._epoch_images = 0
        self._epoch_effort = Effort()
        self._epoch_passes = 0
        self._epoch_start = 0.0
        self._epoch_end = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "train_seconds": self.train_seconds + self._epoch_end - self._epoch_start,
            "n_images": self.n_images + self._epoch_images,
            **asdict(self._epoch_effort),
            "n_passes": self._epoch_passes,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.train_seconds = state_dict["train_seconds"]
        self.n_images = state_dict["n_images"]
        # A checkpoint from within an epoch; those of earlier versions do not have them.
        kept = {field.name: state_dict.get(field.name, 0) for field in fields(Effort)}
        self._epoch_effort = Effort(**kept)
        self._epoch_passes = state_dict.get("n_passes", 0)

    @property
    def images_per_second(self) -> float:
        """Training images of the run over its seconds of training."""
        return self.n_images / self.train_seconds if self.train_seconds else 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._epoch_images == 0:
            self._epoch_start = self._epoch_end = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.effort is not None:
            self._epoch_effort += pl_module.effort
            self._epoch_passes += 1
        self._epoch_images += len(batch[1]) * trainer.world_size
        self._epoch_end = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        seconds = self._epoch_end - self._epoch_start
        self.train_seconds += seconds
        self.n_images += self._epoch_images
        pl_module.log_dict(
            {
                "images_per_second": self._epoch_images / seconds,
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                **self._cost(),
                **_size(pl_module.network),
            },
            sync_dist=True,
        )
        self._epoch_images = 0
        self._epoch_effort = Effort()
        self._epoch_passes = 0
        self._epoch_start = self._epoch_end

    def _cost(self) -> dict[str, float]:
        """Return the means over batches of what differs from batch to batch."""
        n = self._epoch_passes
        if not n:
            return {}
        means = {name: value / n for name, value in asdict(self._epoch_effort).items()}
        # Schemes with fixed steps, and torchdiffeq's, do not count steps.
        return means if means["n_accepted"] else {"n_f_evals": means["n_f_evals"]}


def _size(network: nn.Module) -> dict[str, float]:
    """Return the number of parameters, and the nodes of an ODE block if all have equally many."""
    depth = depth_time(network)
    n_basis = depth.n_basis if depth else None
    parameters = {"parameters": float(n_parameters(network))}
    return parameters if n_basis is None else {**parameters, "depth": float(n_basis)}
