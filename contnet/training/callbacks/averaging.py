"""The exponential average of the weights, kept beside them while training."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from contnet import arguments


class ExponentialAverage(WeightAveraging):
    """Lightning's average of weights and batch-norm statistics, with a window that grows with the run: one of so many
    steps whatever the run's length would hold a short run's first weights until its end.

    It goes on from checkpoints of other nodes than the network is configured with, too, and leaves the average in the
    network where there was nothing left to train.

    Args:
        window: share of the steps of the run, as it is configured now, after which a step's weights have lost all but
            1/e of their part in the average; where that is less than one step, the average is the weights themselves.

    Raises:
        ValueError: if the window is not between 0 and 1.
    """

    def __init__(self, window: float) -> None:
        self.window = arguments.number("window", window, minimum=0, below=1, exclusive=True)
        super().__init__()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not before: counting the steps sets up the loader, which has to be resumed by then. And Lightning makes the
        # average before it moves the weights to their device.
        averaged: Any = self._average_model
        averaged.module.to(pl_module.device)
        averaged.multi_avg_fn = get_ema_multi_avg_fn(
            1 - 1 / max(1, self.window * trainer.estimated_stepping_batches)
        )

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        averaged: Any = self._average_model
        if averaged is not None:
            pl_module.resize(averaged.module.network, checkpoint)
        super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_end(
            trainer, pl_module
        )  # which a run that is resumed at its end does not come to
