"""One step of an embedded pair: its result, the estimate of its error, and the states within it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from contnet.ode import polynomials
from contnet.ode.embedded import EmbeddedPair
from contnet.ode.error_norm import root_mean_square
from contnet.ode.schemes import AdaptiveScheme

Terms = tuple[tuple[int, float], ...]
"""The non-zero terms of a sum over stages, as (stage, weight)."""


@dataclass(frozen=True)
class PairWeights:
    """The weights of an embedded pair as floats, for a step of length 1.

    `stages[i]` and `c[i]` belong to the stages after the first. `update` is None if the state at
    which the last stage is evaluated is the result.
    """

    stages: tuple[Terms, ...]
    c: tuple[float, ...]
    update: Terms | None
    error: Terms


@lru_cache
def weights_of(pair: EmbeddedPair) -> PairWeights:
    """Return the weights of a pair as floats."""

    def floats(row: Sequence[Fraction]) -> Terms:
        return tuple((i, float(weight)) for i, weight in enumerate(row) if weight)

    return PairWeights(
        stages=tuple(map(floats, pair.a[1:])),
        c=tuple(map(float, pair.c[1:])),
        update=None if pair.first_same_as_last else floats(pair.b),
        error=floats(pair.error_weights),
    )


def attempt(
    weights: PairWeights,
    scale: float,
    rates: Sequence[Callable[[Tensor], Tensor]],
    x: Tensor,
    first: Tensor,
) -> tuple[Tensor, ...]:
    """Return the result of a step, the estimate of its error, and all its stages.

    Args:
        weights: those of an embedded pair.
        scale: length of the step times epsilon.
        rates: the rates of all stages after the first.
        x: the state at the beginning.
        first: the first stage, which is the rate of x.
    """
    k, state = [first], x
    for rate, terms in zip(rates, weights.stages, strict=True):
        state = _combined(x, k, terms, scale)
        k.append(rate(state))
    result = state if weights.update is None else _combined(x, k, weights.update, scale)
    with torch.no_grad():
        (i, weight), *others = weights.error
        error = k[i] * (weight * scale)
        for i, weight in others:
            error.add_(k[i], alpha=weight * scale)
    return result, error, *k


def _combined(x: Tensor, k: Sequence[Tensor], terms: Terms, scale: float) -> Tensor:
    if not terms:
        return x
    (i, weight), *others = terms
    # One new tensor, to which the rest is added in place: beside its rate evaluations, a step costs
    # what it moves through memory.
    x = torch.add(x, k[i], alpha=weight * scale)
    for i, weight in others:
        x.add_(k[i], alpha=weight * scale)
    return x


@dataclass(frozen=True)
class AcceptedStep:
    """An accepted step from `state` at the time `start` to `result` at the time `end`."""

    start: float
    end: float
    state: Tensor
    result: Tensor
    stages: tuple[Tensor, ...]

    def at(self, time: float, pair: EmbeddedPair, epsilon: float) -> Tensor:
        """Return the state at a time within the step, by the interpolant of its pair."""
        assert pair.interpolant is not None
        length = self.end - self.start
        share = Fraction((time - self.start) / length)
        values = (float(polynomials.value(p, share)) for p in pair.interpolant)
        terms = tuple((i, weight) for i, weight in enumerate(values) if weight)
        return _combined(self.state, self.stages, terms, length * epsilon)


@torch.no_grad()
def norm(scheme: AdaptiveScheme, values: Tensor, *states: Tensor) -> Tensor:
    """Return the root mean square of values in units of the tolerance.

    The tolerance is atol + rtol |x|, for the largest |x| of the states.
    """
    size, *others = (state.abs() for state in states)
    for other in others:
        size = torch.maximum(size, other)
    # A tolerance below the smallest number of the data type would be 0.
    bound = size.mul_(scheme.rtol).add_(scheme.atol).clamp_(min=torch.finfo(size.dtype).tiny)
    return root_mean_square(values / bound, scheme.control)
