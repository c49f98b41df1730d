"""The exponential average of the weights while training."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from contnet import arguments


class ExponentialAverage(WeightAveraging):
    """Averages weights and batch-norm statistics over a window that grows with the run.

    A window of a fixed number of steps would keep the first weights of a short run until its end.

    Args:
        window: share of the steps of the run. After so many steps, the part that the weights of one
            step have in the average has fallen to 1/e. With a window of less than one step, the
            average is the present weights.

    Raises:
        ValueError: if the window is not between 0 and 1.
    """

    def __init__(self, window: float) -> None:
        self.window = arguments.number("window", window, minimum=0, below=1, exclusive=True)
        super().__init__(multi_avg_fn=self._average)

    def _average(self, averaged: Any, current: Any, n_averaged: Tensor | int) -> None:
        self._decayed_sum(averaged, current, n_averaged)

    @property
    def _averaged(self) -> Any:
        """The averaged copy of the LightningModule, None before training."""
        average = self._average_model
        return None if average is None else average.module

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights."""
        averaged: nn.Module = self._averaged.network
        return averaged

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        # A checkpoint may have had batch-norm statistics of other manifestations than this run.
        pl_module.provide_statistics(self.network)
        # Lightning copies the module before it moves the weights to their device and precision.
        trainer.precision_plugin.convert_module(self._averaged.to(pl_module.device))
        # Not earlier: counting the steps sets up the loader, which must have been resumed by then.
        n_steps = max(1, self.window * trainer.estimated_stepping_batches)
        self._decayed_sum = get_ema_multi_avg_fn(1 - 1 / n_steps)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        if self._averaged is not None:
            trainer.precision_plugin.convert_module(self._averaged)
            pl_module.resize(self.network, checkpoint)
        super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A run that is resumed at its end trains no epoch, and would keep its last weights instead
        # of their average.
        self.on_train_end(trainer, pl_module)
