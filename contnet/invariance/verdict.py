"""The verdict: is the network invariant?

A network that was trained in one manifestation is judged among those at least as fine. A network
that was trained in a set of them is judged twice: in the set, and in all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from torch import Tensor

from contnet.invariance.result import Result
from contnet.ode.schemes import Scheme

N_RESAMPLES = 2000
"""Resamples of the bootstrap."""

N_BLOCKS = 20
"""Blocks in which they are drawn, for little memory."""


FINER = "at least as fine as the training manifestation"
SEEN = "seen in training"
UNSEEN = "unseen in training"


@dataclass(frozen=True)
class Verdict:
    """The largest loss of accuracy over some variants, compared with the one as trained.

    If no such variant was evaluated but the manifestation as trained, there is no verdict:
    `invariant` and the fields about the worst variant are None.

    Args:
        invariant: True if the loss is within the tolerance.
        n_compared: number of variants that were compared.
        among: which these are: `FINER`, `SEEN` or `UNSEEN`.
        worst: name of the variant that loses most.
        loss: its loss in percentage points.
        interval: the 95 % bootstrap interval of the largest loss over the test images. Variants
            are compared image by image: see `interval_of_largest`.
    """

    invariant: bool | None
    n_compared: int
    among: str = FINER
    worst: str | None = None
    loss: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.interval is None or self.loss is None:
            nothing = "nothing else" if self.among == SEEN else "nothing"
            return (
                f"no verdict: {nothing} {self.among} was evaluated; "
                "add more steps or other schemes to the sweep"
            )
        interval = f"95 % interval {self.interval[0]:.1f} to {self.interval[1]:.1f}"
        if not self.invariant:
            return f"not invariant: loses {self.loss:.1f} pp at {self.worst} ({interval})"
        loss = max(self.loss, 0)
        return f"invariant within {loss:.1f} pp ({interval}; largest loss at {self.worst})"


def judge(trained: Result, results: Sequence[Result], labels: Tensor, tolerance: float) -> Verdict:
    """Return the verdict on a network that was trained in one manifestation.

    A variant that failed counts as wrong on every image.

    Args:
        trained: the result of the variant as trained.
        results: the results to compare with it; those that are not as fine are ignored.
        labels: the labels (N,) of the test images.
        tolerance: the largest loss of an invariant network, in percentage points.
    """
    finer = [
        result for result in results if result is not trained and at_least_as_fine(result, trained)
    ]
    return _largest_loss(trained, finer, labels, tolerance, among=FINER)


def judge_seen_and_unseen(
    trained: Result, results: Sequence[Result], labels: Tensor, tolerance: float
) -> tuple[Verdict, Verdict]:
    """Return the verdicts on a network that was trained in a set of manifestations.

    The first is on the set, the second on all others. Neither asks how fine a variant is. The
    arguments are those of `judge`.
    """
    others = [result for result in results if result is not trained]
    seen = [result for result in others if result.seen]
    unseen = [result for result in others if not result.seen]
    return (
        _largest_loss(trained, seen, labels, tolerance, among=SEEN),
        _largest_loss(trained, unseen, labels, tolerance, among=UNSEEN),
    )


def _largest_loss(
    trained: Result, compared: Sequence[Result], labels: Tensor, tolerance: float, among: str
) -> Verdict:
    # The training row with other statistics is no other manifestation.
    if all(result.manifestation == trained.manifestation for result in compared):
        return Verdict(None, n_compared=0, among=among)
    labels = labels.cpu()
    correct = np.stack([_correct(result, labels) for result in compared])
    lost = 100 * (_correct(trained, labels) - correct)
    worst = int(lost.mean(axis=1).argmax())
    loss = float(lost[worst].mean())
    return Verdict(
        invariant=loss <= tolerance,
        n_compared=len(compared),
        among=among,
        worst=str(compared[worst]),
        loss=loss,
        interval=interval_of_largest(lost),
    )


def at_least_as_fine(result: Result, trained: Result) -> bool:
    """Return True if order and number of steps are at least those of the variant as trained.

    An adaptive scheme has no number of steps: its rate evaluations are compared instead. Where it
    failed they are unknown, and its order decides alone.
    """
    scheme, trained_scheme = result.manifestation.scheme, trained.manifestation.scheme
    if scheme is None or trained_scheme is None or scheme.order < trained_scheme.order:
        return False
    if isinstance(scheme, Scheme) and isinstance(trained_scheme, Scheme):
        steps = trained.manifestation.n_time_steps or 0
        return (result.manifestation.n_time_steps or 0) >= steps
    return result.failed is not None or result.n_f_evals >= trained.n_f_evals


def interval_of_largest(lost: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the largest loss, whichever variant has it.

    The variant that lost most on these images was chosen for it: chance makes the observed loss too
    large. So images are resampled jointly for all variants. From each resample the lower end takes
    the largest deviation of any variant that may be the worst, and the upper end the loss of the
    variant that was worst. A variant may be the worst if it is within sqrt(2 log log N) standard
    errors of it (Hansen 2005, "A test for superior predictive ability", section 3.2).

    The upper end misses 2.5 % where one variant is clearly the worst, and fewer the more may be,
    for then the observed loss is too large. The lower end may miss half of the difference more:
    all of it would be too much where chance leaves out variants that may be the worst.

    Args:
        lost: the loss of each variant on each image, (n_variants, N).
    """
    n_images = lost.shape[1]
    observed = lost.mean(axis=1)
    resampled = _resampled_means(lost)
    worst = int(observed.argmax())
    errors = (resampled - resampled[:, [worst]]).std(axis=0)
    reach = sqrt(2 * log(log(max(n_images, 3))))
    may_be_worst = observed[worst] - observed <= reach * errors
    deviations = (resampled - observed)[:, may_be_worst].max(axis=1)
    high = np.quantile(resampled[:, worst], 0.975)
    misses_above = min(0.025, (deviations < observed[worst] - high).mean())
    low = observed[worst] - np.quantile(deviations, 0.975 - (0.025 - misses_above) / 2)
    return float(low), float(high)


def _resampled_means(lost: np.ndarray) -> np.ndarray:
    """Return each variant's mean loss in each resample of the images, (N_RESAMPLES, n_variants)."""
    generator = np.random.default_rng(0)
    n_images = lost.shape[1]
    # A resample matters only through how often it holds each distinct column, and the loss of an
    # image has only three values: -100, 0 and 100.
    distinct, counts = np.unique(lost, axis=1, return_counts=True)
    means = [
        generator.multinomial(n_images, counts / n_images, size=size) @ distinct.T / n_images
        for size in [N_RESAMPLES // N_BLOCKS] * N_BLOCKS
    ]
    return np.concatenate(means)


def _correct(result: Result, labels: Tensor) -> np.ndarray:
    if result.predictions is None:
        return np.zeros(len(labels))
    return (result.predictions == labels).double().numpy()
