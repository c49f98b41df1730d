"""Learning-rate schedules, as Lightning takes them: a scheduler, and whether it steps each epoch or each batch."""

from collections.abc import Sequence
from math import cos, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR

from contnet import arguments

Schedule = dict[str, LRScheduler | str]


def multistep(
    optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, milestones: Sequence[int], gamma: float
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
    return {"scheduler": MultiStepLR(optimizer, list(milestones), gamma), "interval": "epoch"}


def cosine(optimizer: Optimizer, *, epochs: int, steps_per_epoch: int) -> Schedule:
    """The rate falls to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts)."""
    return {"scheduler": Cosine(optimizer, epochs * steps_per_epoch), "interval": "step"}


class OfConfiguredLength:
    """For schedulers that would have their length from a checkpoint, also where a run is to go on for longer."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        progress = {key: state_dict[key] for key in ("last_epoch", "_step_count", "_last_lr")}
        super().load_state_dict(progress)  # type: ignore[misc]


class Cosine(OfConfiguredLength, LRScheduler):
    """Not CosineAnnealingLR, which goes from each rate to the next and knows no other length."""

    def __init__(self, optimizer: Optimizer, n_steps: int) -> None:
        self.n_steps = n_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        return [lr * (1 + cos(pi * self.last_epoch / self.n_steps)) / 2 for lr in self.base_lrs]


class OneCycle(OfConfiguredLength, OneCycleLR):
    """PyTorch's."""


def onecycle(optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, pct_start: float) -> Schedule:
    """The rate rises to the optimizer's `lr` over the share `pct_start` of all steps, then falls to 0 (Smith 2018).

    It begins at a 25th of that rate, and momentum goes the other way, from 0.95 to 0.85 and back, whatever the
    optimizer was given: PyTorch's OneCycleLR.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    arguments.number("pct_start", pct_start, minimum=0, below=1, exclusive=True)
    max_lr: Any = [group["lr"] for group in optimizer.param_groups]
    scheduler = OneCycle(optimizer, max_lr, total_steps=epochs * steps_per_epoch, pct_start=pct_start)
    return {"scheduler": scheduler, "interval": "step"}
