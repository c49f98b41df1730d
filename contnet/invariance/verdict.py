"""Is the network invariant?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from contnet.invariance.result import Result
from contnet.ode.schemes import Scheme

N_RESAMPLES = 2000


@dataclass(frozen=True)
class Verdict:
    """The largest accuracy loss, over all manifestations at least as fine as the training one, in percentage points.

    `interval` is the 95 % bootstrap interval of that loss over the test images (Efron and Tibshirani 1993, section
    13.3), the two manifestations compared image by image. Without a finer manifestation there is no verdict, and
    `invariant` is None.
    """

    invariant: bool | None
    n_compared: int
    worst: str | None = None
    loss: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.interval is None or self.loss is None:
            return "no verdict: nothing at least as fine as the training manifestation was evaluated beside it"
        interval = f"95 % interval {self.interval[0]:.1f} to {self.interval[1]:.1f}"
        if self.invariant:
            return f"invariant within {max(self.loss, 0):.1f} pp ({interval}; largest loss at {self.worst})"
        return f"not invariant: loses {self.loss:.1f} pp at {self.worst} ({interval})"


def judge(trained: Result, results: Sequence[Result], labels: Tensor, tolerance: float) -> Verdict:
    """The verdict on `results`, for a tolerance in percentage points. One that has failed has lost everything."""
    finer = [
        result for result in results if result is not trained and at_least_as_fine(result, trained)
    ]
    if not finer:
        return Verdict(None, n_compared=0)
    labels = labels.cpu()
    correct = np.stack([_correct(result, labels) for result in finer])
    lost = 100 * (_correct(trained, labels) - correct)
    worst = int(lost.mean(axis=1).argmax())
    loss = float(lost[worst].mean())
    return Verdict(
        invariant=loss <= tolerance,
        n_compared=len(finer),
        worst=str(finer[worst]),
        loss=loss,
        interval=bootstrap_interval(lost[worst]),
    )


def at_least_as_fine(result: Result, trained: Result) -> bool:
    """Order and number of steps are at least those of training; an adaptive scheme, which counts no steps, is fine
    enough if it evaluates the rate as often."""
    own, base = result.manifestation, trained.manifestation
    if own.scheme is None or base.scheme is None or own.scheme.order < base.scheme.order:
        return False
    if isinstance(own.scheme, Scheme) and isinstance(base.scheme, Scheme):
        return (own.n_time_steps or 0) >= (base.n_time_steps or 0)
    return result.n_f_evals >= trained.n_f_evals


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values` (N,)."""
    generator = np.random.default_rng(0)
    # A resample matters only through how often it holds each distinct value, and an image's loss takes but three.
    distinct, counts = np.unique(values, return_counts=True)
    drawn = generator.multinomial(len(values), counts / len(values), size=N_RESAMPLES)
    low, high = np.quantile(drawn @ distinct / len(values), (0.025, 0.975))
    return float(low), float(high)


def _correct(result: Result, labels: Tensor) -> np.ndarray:
    if result.predictions is None:
        return np.zeros(len(labels))
    return (result.predictions == labels).double().numpy()
