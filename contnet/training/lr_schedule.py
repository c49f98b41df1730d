"""Learning-rate schedules.

Each function returns a schedule in Lightning's form: the scheduler, and the interval of its steps,
an epoch or a batch.
"""

import sys
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from contnet import arguments
from contnet.training.schedulers import (
    DECAYS,
    Cosine,
    MultiStep,
    OneCycle,
    Plateau,
    Resumable,
    WarmupStableDecay,
)

__all__ = [
    "Plateau",
    "Resumable",
    "cosine",
    "multistep",
    "on_plateau",
    "onecycle",
    "plateau",
    "wsd",
]

Schedule = dict[str, Any]

MONITORS = ("val_loss", "val_accuracy", "train_loss", "train_accuracy")
"""The metrics that a schedule can follow."""

NEVER = sys.maxsize
"""The number of epochs between two steps of a scheduler that Lightning is not to step itself.

Lightning steps a scheduler that follows a metric after it has saved the checkpoint of the epoch. A
resumed run would lack that step. `callbacks.plateau` steps before.
"""


def multistep(
    optimizer: Optimizer,
    *,
    epochs: int,
    steps_per_epoch: int,
    milestones: Sequence[int],
    gamma: float,
) -> Schedule:
    """Multiply the rate by `gamma` after each of the epochs in `milestones`.

    Raises:
        ValueError: if the milestones are not epochs in increasing order, or gamma is not above 0.
    """
    milestones = arguments.epochs("milestones", milestones)
    arguments.number("gamma", gamma, minimum=0, exclusive=True)
    return {"scheduler": MultiStep(optimizer, milestones, gamma), "interval": "epoch"}


def cosine(optimizer: Optimizer, *, epochs: int, steps_per_epoch: int) -> Schedule:
    """Reduce the rate to 0 along half a cosine (Loshchilov and Hutter 2017, no restarts)."""
    return {"scheduler": Cosine(optimizer, epochs, steps_per_epoch), "interval": "step"}


def wsd(
    optimizer: Optimizer,
    *,
    epochs: int,
    steps_per_epoch: int,
    warmup: float,
    decay: float,
    shape: str,
) -> Schedule:
    """Raise the rate, keep it stable, and reduce it to about 0 (Hu et al. 2024, MiniCPM, 4.2).

    The rate rises linearly over the share `warmup` of all steps, and falls over their last share
    `decay`. In between it does not depend on the length of the run. So a run can be prolonged from
    there.

    Args:
        optimizer: the optimizer, whose `lr` is the stable rate.
        epochs: length of the run.
        steps_per_epoch: steps of the optimizer in an epoch.
        warmup: share of the steps.
        decay: share of the steps.
        shape: of the decay: `linear`, `cosine` or `sqrt` (1 minus the square root of the share of
            the decay that is over; Hagele et al. 2024, arXiv 2405.18392).

    Raises:
        ValueError: if a share is out of range, both together are more than 1, or there is no such
            shape.
    """
    arguments.number("warmup", warmup, minimum=0, below=1)
    arguments.number("decay", decay, minimum=0, below=1)
    if warmup + decay > 1:
        raise ValueError(f"warmup and decay must add up to at most 1, got {warmup:g} + {decay:g}")
    fall = DECAYS[arguments.one_of("shape", shape, DECAYS)]
    made = WarmupStableDecay(optimizer, epochs, steps_per_epoch, warmup, decay, fall)
    return {"scheduler": made, "interval": "step"}


def onecycle(
    optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, pct_start: float
) -> Schedule:
    """Raise the rate to the optimizer's `lr`, then reduce it to about 0 (Smith 2018).

    The rate starts at a 25th of `lr` and rises over the share `pct_start` of all steps. Momentum
    moves the other way, from 0.95 to 0.85 and back, and replaces the optimizer's own.

    Raises:
        ValueError: if the share is not between 0 and 1, or the optimizer has no momentum.
    """
    arguments.number("pct_start", pct_start, minimum=0, below=1, exclusive=True)
    made = OneCycle(optimizer, epochs, steps_per_epoch, pct_start)
    return {"scheduler": made, "interval": "step"}


def plateau(
    optimizer: Optimizer,
    *,
    epochs: int,
    steps_per_epoch: int,
    factor: float,
    patience: int,
    monitor: str,
) -> Schedule:
    """Multiply the rate by `factor` when a metric has not improved for a while.

    The rate falls after `patience` + 1 epochs in a row in which the metric is no better than its
    best value so far. An improvement is at least a share of 1e-4 of that value. A metric of
    validation counts only in epochs with validation.

    Raises:
        ValueError: if the factor is not between 0 and 1, the patience is negative, or there is no
            such metric.
    """
    arguments.number("factor", factor, minimum=0, below=1, exclusive=True)
    arguments.integer("patience", patience, minimum=0)
    arguments.one_of("monitor", monitor, MONITORS)
    return on_plateau(Plateau(optimizer, factor, patience, monitor), monitor)


def on_plateau(scheduler: ReduceLROnPlateau, monitor: str) -> Schedule:
    """Return a scheduler in Lightning's form, for `callbacks.plateau` to step."""
    return {"scheduler": scheduler, "interval": "epoch", "frequency": NEVER, "monitor": monitor}
