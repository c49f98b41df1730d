"""The steps of schedules that follow a metric."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from contnet.errors import ConfigError
from contnet.training.lr_schedule import NEVER


class PlateauSteps(Callback):
    """Steps each schedule of `lr_schedule.on_plateau` at the end of an epoch.

    The checkpoint of the epoch is saved later, so that it holds the step.

    Raises:
        ConfigError: at the end of an epoch, if the metric that the schedule follows is missing.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            if config.frequency != NEVER or not _is_measured(trainer, str(config.monitor)):
                continue
            metric = trainer.callback_metrics.get(str(config.monitor))
            if metric is None:
                known = ", ".join(sorted(trainer.callback_metrics))
                raise ConfigError(
                    f"lr_schedule.monitor must be a metric of this run, one of {known}; "
                    f"got {config.monitor}"
                )
            scheduler: Any = config.scheduler
            scheduler.step(float(metric))


def _is_measured(trainer: Trainer, monitor: str) -> bool:
    """Return False in an epoch without validation if the metric is one of validation."""
    interval = trainer.check_val_every_n_epoch
    return (
        interval is None
        or not monitor.startswith("val_")
        or (trainer.current_epoch + 1) % interval == 0
    )
