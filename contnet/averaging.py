"""The exponential average of the weights, kept beside them while training."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging

from contnet.classifier import make_room


class ExponentialAverage(EMAWeightAveraging):
    """Lightning's, which goes on from checkpoints of other nodes than the network is configured with, too, and leaves
    the average in the network where there was nothing left to train."""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        averaged: Any = self._average_model
        if averaged is not None:
            make_room(averaged.module.network, checkpoint)
        super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_end(trainer, pl_module)  # which a run that is resumed at its end does not come to
