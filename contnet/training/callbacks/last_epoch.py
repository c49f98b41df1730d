"""The figures of the last finished epoch."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


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

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._n_steps = checkpoint["global_step"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.figures or self._step + 1 != self._n_steps:
            return  # the checkpoint is of a later moment, and these are logged
        is_validated = self._validated_at == self.figures["epoch"]
        figures = {
            k: v for k, v in self.figures.items() if is_validated or not k.startswith("val_")
        }
        for logger in trainer.loggers:
            logger.log_metrics(figures, self._step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated_at = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # All processes compute them together; those of an older validation may be among them.
        metrics = trainer.callback_metrics
        self.figures = {
            "epoch": trainer.current_epoch,
            **{name: float(value) for name, value in metrics.items()},
        }
        self._step = trainer.global_step - 1  # under which Lightning logs them
