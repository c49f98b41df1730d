"""The metrics of the last finished epoch."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class EpochMetrics(Callback):
    """Keeps the metrics of the last finished epoch in `last`, and in checkpoints.

    Lightning logs the metrics of an epoch after it has written the checkpoint of that epoch. A run
    that is killed in between finds them in the checkpoint, and logs them when it is resumed.
    """

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self._step = 0
        self._validated_at = -1
        self._resumed_at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.last, "step": self._step, "validated_at": self._validated_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last = state_dict["metrics"]
        self._step = state_dict["step"]
        self._validated_at = state_dict["validated_at"]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._resumed_at = checkpoint["global_step"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.last or self._step + 1 != self._resumed_at:
            return  # the checkpoint was written later, and the metrics have been logged
        is_validated = self._validated_at == self.last["epoch"]
        unlogged = {
            name: value
            for name, value in self.last.items()
            if is_validated or not name.startswith("val_")
        }
        for logger in trainer.loggers:
            logger.log_metrics(unlogged, self._step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated_at = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # All processes compute the metrics together. If this epoch has no validation, the metrics
        # of the last one are among them.
        self.last = {
            "epoch": trainer.current_epoch,
            **{name: float(value) for name, value in trainer.callback_metrics.items()},
        }
        self._step = trainer.global_step - 1  # the step under which Lightning logs them
