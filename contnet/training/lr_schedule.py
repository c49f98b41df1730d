"""Learning-rate schedules, as Lightning takes them: a scheduler, and whether it steps each epoch or each batch."""

import warnings
from bisect import bisect_right
from collections.abc import Sequence
from math import cos, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from contnet import arguments

Schedule = dict[str, LRScheduler | str]


class Resumable:
    """For schedulers whose rate is a function of the step alone: where a run goes on with another rate, schedule or
    length of an epoch than it had, it has the rate that these give there. PyTorch's would keep the checkpoint's."""

    steps_per_epoch = 1
    """Of the scheduler: 1 where it steps once an epoch."""

    def state_dict(self) -> dict[str, Any]:
        scheduler: Any = self
        progress = {
            key: getattr(scheduler, key) for key in ("last_epoch", "_step_count", "_last_lr")
        }
        return {**progress, "epochs": scheduler.last_epoch / self.steps_per_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        scheduler: Any = self
        scheduler._step_count = state_dict["_step_count"]
        epochs = state_dict.get(
            "epochs", state_dict["last_epoch"] / self.steps_per_epoch
        )  # of older checkpoints
        # Whole steps: the checkpoint may be from within one of them.
        scheduler.last_epoch = int(round(epochs * self.steps_per_epoch, ndigits=6))
        with warnings.catch_warnings():  # of a call that is not within a step
            warnings.simplefilter("ignore")
            scheduler._last_lr = scheduler.get_lr()
        for group, rate in zip(scheduler.optimizer.param_groups, scheduler._last_lr, strict=True):
            group["lr"] = rate


def multistep(
    optimizer: Optimizer,
    *,
    epochs: int,
    steps_per_epoch: int,
    milestones: Sequence[int],
    gamma: float,
) -> Schedule:
    """The rate is multiplied by `gamma` after each of the epochs in `milestones`.

    Raises:
        ValueError: if the milestones are no rising list of epochs, or gamma is not above 0.
    """
    if not isinstance(milestones, Sequence) or isinstance(milestones, str):
        raise ValueError(f"milestones must be a list of epochs, got {milestones!r}")
    for epoch in milestones:
        arguments.integer("milestones", epoch, minimum=1)
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f"milestones must be in increasing order, got {list(milestones)}")
    arguments.number("gamma", gamma, minimum=0, exclusive=True)
    return {"scheduler": MultiStep(optimizer, milestones, gamma), "interval": "epoch"}


class MultiStep(Resumable, LRScheduler):
    """Not MultiStepLR, which goes from each rate to the next."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float) -> None:
        self.milestones = milestones
        self.gamma = gamma
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        return [
            lr * self.gamma ** bisect_right(self.milestones, self.last_epoch)
            for lr in self.base_lrs
        ]


def cosine(optimizer: Optimizer, *, epochs: int, steps_per_epoch: int) -> Schedule:
    """The rate falls to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts)."""
    return {"scheduler": Cosine(optimizer, epochs, steps_per_epoch), "interval": "step"}


class Cosine(Resumable, LRScheduler):
    """Not CosineAnnealingLR, which goes from each rate to the next."""

    def __init__(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.n_steps = epochs * steps_per_epoch
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        return [lr * (1 + cos(pi * self.last_epoch / self.n_steps)) / 2 for lr in self.base_lrs]


class OneCycle(Resumable, OneCycleLR):
    """PyTorch's."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: list[float],
        epochs: int,
        steps_per_epoch: int,
        pct_start: float,
    ) -> None:
        self.steps_per_epoch = steps_per_epoch
        super().__init__(
            optimizer, max_lr, epochs=epochs, steps_per_epoch=steps_per_epoch, pct_start=pct_start
        )


def onecycle(
    optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, pct_start: float
) -> Schedule:
    """The rate rises to the optimizer's `lr` over the share `pct_start` of all steps, then falls to 0 (Smith 2018).

    It begins at a 25th of that rate, and momentum goes the other way, from 0.95 to 0.85 and back, whatever the
    optimizer was given: PyTorch's OneCycleLR.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    arguments.number("pct_start", pct_start, minimum=0, below=1, exclusive=True)
    max_lr = [group["lr"] for group in optimizer.param_groups]
    return {
        "scheduler": OneCycle(optimizer, max_lr, epochs, steps_per_epoch, pct_start),
        "interval": "step",
    }
