"""The end of a run whose loss is NaN or infinite."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, distributed

from contnet.errors import RunError

STEPS_BETWEEN_CHECKS = 50


class DivergedError(RunError):
    """The loss of a run has become NaN or infinite."""


class DivergenceWatch(Callback):
    """Ends a run whose loss is NaN or infinite, and reports the step at which that began.

    Reading the loss makes the program wait for a GPU, and takes a message between processes. So on
    a GPU, or in several processes, the loss is read every 50 steps, and before the checkpoint of
    each epoch and of the end of a run.

    Raises:
        DivergedError: during training.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first = torch.full((), -1, dtype=torch.int64, device=pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss: Tensor = outputs["loss"]
        diverges = ~loss.detach().isfinite() & (self._first < 0)
        self._first = torch.where(diverges, trainer.global_step - 1, self._first)
        at_once = trainer.world_size == 1 and self._first.device.type == "cpu"
        # A run that ends within an epoch saves a checkpoint there.
        ends = trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step
        due = trainer.is_last_batch or (batch_idx + 1) % STEPS_BETWEEN_CHECKS == 0
        if at_once or ends or due:
            self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if trainer.world_size > 1:
            distributed.all_reduce(self._first, op=distributed.ReduceOp.MAX)
        step = int(self._first)
        if step < 0:
            return
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        raise DivergedError(
            f"the loss has been NaN or infinite since step {step} "
            f"(epoch {trainer.current_epoch}, lr {lr:g}); lower optimizer.lr, "
            "set trainer.gradient_clip_val or model.use_skipinit=true, or train in float32"
        )
