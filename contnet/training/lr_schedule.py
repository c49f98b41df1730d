"""Learning-rate schedules.

Each function returns a schedule in Lightning's form: the scheduler, and the interval of its steps,
an epoch or a batch.
"""

import sys
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from math import cos, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from contnet import arguments
from contnet.errors import ConfigError

Schedule = dict[str, Any]

MONITORS = ("val_loss", "val_accuracy", "train_loss", "train_accuracy")
"""The metrics that a schedule can follow."""

NEVER = sys.maxsize
"""The number of epochs between two steps of a scheduler that Lightning is not to step itself.

Lightning steps a scheduler that follows a metric after it has saved the checkpoint of the epoch. A
resumed run would lack that step. `callbacks.plateau` steps before.
"""


class Resumable(LRScheduler):
    """A scheduler whose rate is a function of the step alone.

    A checkpoint holds the number of epochs that have passed. If a run is resumed with another
    learning rate, schedule or length of an epoch, the new settings decide the rate from that epoch
    on. PyTorch's schedulers would keep the rate of the checkpoint.
    """

    steps_per_epoch = 1
    """Steps of the scheduler in an epoch."""

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.last_epoch / self.steps_per_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _check_epochs(state_dict)
        # Rounded down to whole steps: the checkpoint may be from within one of them.
        n_steps = int(round(state_dict["epochs"] * self.steps_per_epoch, ndigits=6))
        self.last_epoch = n_steps - 1
        with warnings.catch_warnings():  # PyTorch expects a step of the optimizer first
            warnings.simplefilter("ignore")
            self.step()


def _check_epochs(state_dict: dict[str, Any]) -> None:
    if "epochs" not in state_dict:
        raise ConfigError(
            "lr_schedule must be the one of the run of ckpt_path, which is not one of contnet's"
        )


class Plateau(ReduceLROnPlateau):
    """PyTorch's ReduceLROnPlateau, resumed as the other schedulers are.

    A checkpoint holds the number of reductions, but not the rate. If a run is resumed with another
    learning rate or factor, the rate is what these settings and the reductions make of it. If it is
    resumed with another monitor, the search for the best value starts anew.
    """

    def __init__(self, optimizer: Optimizer, factor: float, patience: int, monitor: str) -> None:
        self.monitor = monitor
        self.n_reductions = 0
        mode: Any = "max" if monitor.endswith("accuracy") else "min"
        super().__init__(optimizer, mode, factor=factor, patience=patience)

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        before = self._rates()
        super().step(metrics, epoch)
        self.n_reductions += self._rates() != before

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {
            "epochs": self.last_epoch,
            "monitor": self.monitor,
            "best": self.best,
            "num_bad_epochs": self.num_bad_epochs,
            "n_reductions": self.n_reductions,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _check_epochs(state_dict)
        self.last_epoch = int(state_dict["epochs"])
        self.n_reductions = state_dict.get("n_reductions", 0)
        if state_dict.get("monitor") == self.monitor:
            self.best = state_dict["best"]
            self.num_bad_epochs = state_dict["num_bad_epochs"]
        for group in self.optimizer.param_groups:
            for _ in range(self.n_reductions):  # one by one: rounded as in the unbroken run
                group["lr"] *= self.factor


class MultiStep(Resumable):
    """A scheduler that multiplies the rate by `gamma` at each milestone.

    PyTorch's MultiStepLR computes each rate from the one before, not from the step.
    """

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float) -> None:
        self.milestones = milestones
        self.gamma = gamma
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        n_passed = bisect_right(self.milestones, self.last_epoch)
        return [lr * self.gamma**n_passed for lr in self.base_lrs]


class Cosine(Resumable):
    """A scheduler whose rate falls to 0 along half a cosine.

    PyTorch's CosineAnnealingLR computes each rate from the one before, not from the step.
    """

    def __init__(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.n_steps = epochs * steps_per_epoch
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        return [lr * (1 + cos(pi * self.last_epoch / self.n_steps)) / 2 for lr in self.base_lrs]


class OneCycle(Resumable, OneCycleLR):
    """PyTorch's OneCycleLR, resumed as the other schedulers are."""

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


def onecycle(
    optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, pct_start: float
) -> Schedule:
    """Raise the rate to the optimizer's `lr`, then reduce it to about 0 (Smith 2018).

    The rate starts at a 25th of `lr` and rises over the share `pct_start` of all steps. Momentum
    moves the other way, from 0.95 to 0.85 and back, and replaces the optimizer's own.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    arguments.number("pct_start", pct_start, minimum=0, below=1, exclusive=True)
    max_lr = [group["lr"] for group in optimizer.param_groups]
    return {
        "scheduler": OneCycle(optimizer, max_lr, epochs, steps_per_epoch, pct_start),
        "interval": "step",
    }


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
