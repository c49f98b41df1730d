"""The verdict: is the network invariant?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from contnet.invariance.result import Result
from contnet.ode.schemes import Scheme

N_RESAMPLES = 2000
"""Resamples of the bootstrap."""


@dataclass(frozen=True)
class Verdict:
    """The largest loss of accuracy over all variants at least as fine as the one as trained.

    If no such variant was evaluated, there is no verdict: all fields but `n_compared` are None.

    Args:
        invariant: True if the loss is within the tolerance.
        n_compared: number of variants at least as fine.
        worst: name of the variant that loses most.
        loss: its loss in percentage points.
        interval: the 95 % bootstrap interval of the loss over the test images (Efron and Tibshirani
            1993, section 13.3). The two variants are compared image by image.
    """

    invariant: bool | None
    n_compared: int
    worst: str | None = None
    loss: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.interval is None or self.loss is None:
            return (
                "no verdict: nothing at least as fine as the training manifestation was evaluated; "
                "add more steps or other schemes to the sweep"
            )
        interval = f"95 % interval {self.interval[0]:.1f} to {self.interval[1]:.1f}"
        if not self.invariant:
            return f"not invariant: loses {self.loss:.1f} pp at {self.worst} ({interval})"
        loss = max(self.loss, 0)
        return f"invariant within {loss:.1f} pp ({interval}; largest loss at {self.worst})"


def judge(trained: Result, results: Sequence[Result], labels: Tensor, tolerance: float) -> Verdict:
    """Return the verdict on a network; a variant that failed counts as wrong on every image.

    Args:
        trained: the result of the variant as trained.
        results: the results to compare with it; those that are not as fine are ignored.
        labels: the labels (N,) of the test images.
        tolerance: the largest loss of an invariant network, in percentage points.
    """
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
    """Return True if order and number of steps are at least those of the variant as trained.

    An adaptive scheme has no number of steps: its rate evaluations are compared instead.
    """
    scheme, trained_scheme = result.manifestation.scheme, trained.manifestation.scheme
    if scheme is None or trained_scheme is None or scheme.order < trained_scheme.order:
        return False
    if isinstance(scheme, Scheme) and isinstance(trained_scheme, Scheme):
        steps = trained.manifestation.n_time_steps or 0
        return (result.manifestation.n_time_steps or 0) >= steps
    return result.n_f_evals >= trained.n_f_evals


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of `values` (N,)."""
    generator = np.random.default_rng(0)
    # A resample matters only through how often it holds each distinct value, and the loss of an
    # image has only three: -100, 0 and 100.
    distinct, counts = np.unique(values, return_counts=True)
    drawn = generator.multinomial(len(values), counts / len(values), size=N_RESAMPLES)
    low, high = np.quantile(drawn @ distinct / len(values), (0.025, 0.975))
    return float(low), float(high)


def _correct(result: Result, labels: Tensor) -> np.ndarray:
    if result.predictions is None:
        return np.zeros(len(labels))
    return (result.predictions == labels).double().numpy()
