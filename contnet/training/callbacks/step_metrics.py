"""Figures of single steps for TensorBoard."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from contnet.training.callbacks.tensorboard import tensorboard_of


class StepMetrics(Callback):
    """Writes loss, learning rate and norm of the gradient of single steps to TensorBoard.

    It does so at every `trainer.log_every_n_steps`-th step, from the first one on. On a GPU, the
    program waits for the figures at those steps alone. The loss is the one that is minimised, of
    the last batch of the step in the first process: with label smoothing where that is used. The
    norm is that of the gradient of all batches of the step, before clipping.
    """

    def __init__(self) -> None:
        self._figures: dict[str, Tensor | float] = {}
        self._step = 0

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        self._step = trainer.global_step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not every or self._step % every or tensorboard_of(trainer) is None:
            return
        norm = gradient_norm(optimizer) / _scale(trainer, optimizer)
        self._figures = {"lr": optimizer.param_groups[0]["lr"], "grad_norm": norm}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._figures:
            return
        logger = tensorboard_of(trainer)
        # Lightning divides the losses of a step by their number.
        loss = outputs["loss"] * trainer.accumulate_grad_batches
        figures = {"step_loss": loss, **self._figures}
        self._figures = {}
        if logger is not None:
            logger.log_metrics({name: float(value) for name, value in figures.items()}, self._step)


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """Return the Euclidean norm of the gradients of all parameters, as one vector."""
    gradients = [
        parameter.grad
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    # Squares of numbers of 16 bits overflow.
    norms = [torch.linalg.vector_norm(gradient.float()) for gradient in gradients]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def _scale(trainer: Trainer, optimizer: Optimizer) -> float:
    """Return the factor that the gradients still have: fused optimizers remove it themselves."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
        return 1.0
    return float(scaler.get_scale())
