"""The control of an adaptive scheme's steps: how long the first and each further one is.

All of it is plain numbers; no gradient flows through the length of a step.

Sources: Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.4 (the first step,
and limits of the factors), and Soderlind 2002, "Automatic control and adaptive time-stepping",
Numerical Algorithms 31 (the PI controller).
"""

from dataclasses import dataclass
from math import isfinite

SAFETY = 0.9
"""Share of the step that would just keep the tolerance."""

SMALLEST_FACTOR, LARGEST_FACTOR = 0.2, 10.0
"""Limits of the ratio of a step to the one before."""

DAMPING = 0.1
"""Share of the exponent that goes into the error before: beta k of the PI rule.

Without it, stiff decay rejects up to ten times as many steps. Twice as much costs smooth rates more
steps.
"""

AS_GOOD_AS_ZERO = 1e-5
"""States and rates whose norm is smaller say nothing about the first step."""


@dataclass
class StepControl:
    """Chooses steps such that the error ratio, of the estimated error to its bound, stays below 1.

    The factor from one step to the next is safety ratio^-(alpha) previous_ratio^beta with
    alpha = (1 - 3/4 DAMPING) / k and beta = DAMPING / k, where the error of a step is O(h^k).
    After a rejected step, the factor is that of the I rule, safety ratio^(-1/k), and at most 1. The
    step that is then accepted is followed by none that is longer.

    Args:
        exponent: k.
    """

    exponent: int
    previous_ratio: float = 1e-4
    was_rejected: bool = False

    def after_accepted(self, ratio: float) -> float:
        """Return the factor of the next step after one that is accepted."""
        ratio = max(ratio, 1e-10)
        alpha, beta = (1 - 0.75 * DAMPING) / self.exponent, DAMPING / self.exponent
        factor = SAFETY * ratio**-alpha * self.previous_ratio**beta
        self.previous_ratio = max(ratio, 1e-4)
        largest = 1.0 if self.was_rejected else LARGEST_FACTOR
        self.was_rejected = False
        return min(max(factor, SMALLEST_FACTOR), largest)

    def after_rejected(self, ratio: float) -> float:
        """Return the factor of the next attempt after one that is rejected."""
        self.was_rejected = True
        if not isfinite(ratio):
            return SMALLEST_FACTOR
        return min(max(SAFETY * ratio ** (-1 / self.exponent), SMALLEST_FACTOR), 1.0)


def length_of_probe(state: float, rate: float, longest: float) -> float:
    """Return the length of the step of Euler's method that measures how the rate changes.

    Args:
        state: norm of the state, in units of the tolerance.
        rate: norm of the rate, in the same units.
        longest: the rest of the interval.
    """
    if state < AS_GOOD_AS_ZERO or rate < AS_GOOD_AS_ZERO:
        return min(1e-6, longest)
    return min(0.01 * state / rate, longest)


def first_length(probe: float, rate: float, change: float, order: int) -> float:
    """Return the length of the first step.

    A step of this length has the largest error that is allowed, if all derivatives are as large as
    the first ones. Hairer, Norsett and Wanner allow a hundredth of it, which costs a network, whose
    depth takes few steps, a step more.

    Args:
        probe: the length from `length_of_probe`.
        rate: norm of the rate, in units of the tolerance.
        change: norm of the change of the rate over the probe, in the same units.
        order: order of the scheme.
    """
    largest = max(rate, change / probe)
    if largest <= 1e-15:
        return max(1e-6, 1e-3 * probe)
    return min(100 * probe, (1 / largest) ** (1 / (order + 1)))


def fitted(length: float, rest: float) -> float:
    """Return a step that ends exactly at the end of an interval, or leaves a whole one to take.

    Where two steps are left, both get half of the rest, so that the last one is not tiny.
    """
    if 1.01 * length >= rest:
        return rest
    return rest / 2 if 2 * length > rest else length
