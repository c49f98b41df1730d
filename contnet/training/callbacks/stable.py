"""The checkpoint from which a run with the schedule `wsd` can be prolonged."""

from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from contnet.runs.folder import STABLE
from contnet.training.schedulers import WarmupStableDecay


class StableCheckpoint(Checkpoint):
    """Saves the state of a run before its learning rate begins to fall.

    After its warmup, a longer run has the same rate up to there. So it can start from this
    checkpoint. With another schedule than `wsd` nothing is saved.

    Args:
        dirpath: folder of the checkpoint.
    """

    def __init__(self, dirpath: str) -> None:
        self.path = Path(dirpath) / STABLE.name

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # A checkpoint has no accumulated gradients, and the end of an epoch has its own hook.
        if not trainer.is_last_batch and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._save_when_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_last_batch:
            self._save_when_due(trainer)

    def _save_when_due(self, trainer: Trainer) -> None:
        for config in trainer.lr_scheduler_configs:
            made: Any = config.scheduler
            falls = isinstance(made, WarmupStableDecay) and made.n_before_decay < made.n_steps
            if falls and trainer.global_step == made.n_before_decay:
                trainer.save_checkpoint(self.path)
