"""Schedulers that a run can be resumed with: the rate is a function of the step and the settings.

PyTorch's schedulers go on from the rate of a checkpoint, whatever the settings are now.
"""

import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import cos, pi, sqrt
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from contnet.errors import ConfigError

FIRST_SHARE = 1 / 25
"""Share of the rate that `onecycle` begins with."""

LAST_SHARE = FIRST_SHARE / 10_000
"""Share of the rate that `onecycle` ends with."""

LOWEST_MOMENTUM, HIGHEST_MOMENTUM = 0.85, 0.95
"""Momentum of `onecycle` at the highest rate, and at its beginning and end."""


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


class Spanning(Resumable):
    """A scheduler whose rate depends on the share of the run's steps that has passed."""

    def __init__(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.n_steps = epochs * steps_per_epoch
        super().__init__(optimizer)

    def span(self, epochs: int, max_steps: int) -> None:
        """Span the steps that the run takes: those of `epochs`, and at most `max_steps`.

        With a negative number there is no limit of steps.
        """
        self.n_steps = epochs * self.steps_per_epoch
        if max_steps >= 0:
            self.n_steps = min(self.n_steps, max_steps)
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr  # the rate of the first step may depend on the number of steps


class Cosine(Spanning):
    """A scheduler whose rate falls to 0 along half a cosine.

    PyTorch's CosineAnnealingLR computes each rate from the one before, not from the step.
    """

    def get_lr(self) -> list[Any]:
        return [lr * _between(1, 0, self.last_epoch / self.n_steps) for lr in self.base_lrs]


class WarmupStableDecay(Spanning):
    """A scheduler whose rate rises, stays at that of the optimizer, and falls to about 0.

    Until the fall, the rate depends on the length of the run through the warmup alone. So a run can
    be prolonged from its last stable step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        steps_per_epoch: int,
        warmup: float,
        decay: float,
        shape: Callable[[float], float],
    ) -> None:
        self.warmup = warmup
        self.decay = decay
        self.shape = shape
        super().__init__(optimizer, epochs, steps_per_epoch)

    @property
    def n_before_decay(self) -> int:
        """Number of steps before the rate begins to fall."""
        return round((1 - self.decay) * self.n_steps)

    def get_lr(self) -> list[Any]:
        n_warmup = self.warmup * self.n_steps
        n_decay = self.n_steps - self.n_before_decay
        share = 1.0
        if self.last_epoch + 1 < n_warmup:
            share = (self.last_epoch + 1) / n_warmup
        elif self.last_epoch > self.n_before_decay:
            share = self.shape(min(1.0, (self.last_epoch - self.n_before_decay) / n_decay))
        return [lr * share for lr in self.base_lrs]


DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda passed: 1 - passed,
    "cosine": lambda passed: _between(1, 0, passed),
    "sqrt": lambda passed: 1 - sqrt(passed),
}
"""How the rate of `wsd` falls: the share of it that is left when a share of the decay is over."""


class OneCycle(Spanning):
    """A scheduler whose rate rises to that of the optimizer and falls to about 0.

    PyTorch's OneCycleLR has the same rates and momenta. Its length cannot be changed once the
    number of steps is known.

    Raises:
        ValueError: if the optimizer has no momentum to move the other way.
    """

    def __init__(
        self, optimizer: Optimizer, epochs: int, steps_per_epoch: int, pct_start: float
    ) -> None:
        self.pct_start = pct_start
        if not {"momentum", "betas"} & set(optimizer.defaults):
            name = type(optimizer).__name__
            raise ValueError(f"onecycle needs an optimizer with momentum or betas, got {name}")
        super().__init__(optimizer, epochs, steps_per_epoch)

    def get_lr(self) -> list[Any]:
        top = self.pct_start * self.n_steps - 1
        if self.last_epoch <= top:
            passed = self.last_epoch / top if top else 1
            shares, momenta = (FIRST_SHARE, 1.0), (HIGHEST_MOMENTUM, LOWEST_MOMENTUM)
        else:
            passed = (self.last_epoch - top) / (self.n_steps - 1 - top)
            shares, momenta = (1.0, LAST_SHARE), (LOWEST_MOMENTUM, HIGHEST_MOMENTUM)
        self._set_momentum(_between(*momenta, passed))
        return [lr * _between(*shares, passed) for lr in self.base_lrs]

    def _set_momentum(self, momentum: float) -> None:
        for group in self.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] = momentum
            else:
                group["betas"] = (momentum, *group["betas"][1:])


def _between(start: float, end: float, passed: float) -> float:
    """Return a value on half a cosine from `start` to `end`; `passed` is the share that is over."""
    return end + (start - end) / 2 * (1 + cos(pi * min(passed, 1)))
