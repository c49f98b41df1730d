"""Integration of dx/dt = epsilon R(x; theta(t)) over t in [0, 1].

Fixed step: everything but the state is known before the first image arrives. `FixedGrid` computes
it once, in rationals, and stepping is a plain loop over constants: it looks nothing up, compares
nothing and moves nothing between devices. Adaptive schemes go interval by interval, so that no step
straddles a jump of theta: see `contnet.ode.adaptive`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from contnet.ode.basis import Basis, Rate, Weights
from contnet.ode.combination import Combined
from contnet.ode.schemes import AdaptiveScheme, Scheme


class IntegrationError(RuntimeError):
    """The integration failed: a solver cannot keep its tolerance, or the state is not finite."""


@dataclass(frozen=True)
class FixedGrid:
    """The static part of `n_time_steps` equal steps of a scheme.

    `stages[i]` and `update` list the non-zero weights as (stage, h * epsilon * weight).
    `thetas[n][i]` lists the nodes that make up theta at stage i of step n, with their weights.
    """

    stages: tuple[tuple[tuple[int, float], ...], ...]
    update: tuple[tuple[int, float], ...]
    thetas: tuple[tuple[Weights, ...], ...]

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations of one integration."""
        return len(self.stages) * len(self.thetas)

    def step(self, rates: Sequence[Rate], x: Tensor, *, checked: bool = False) -> Tensor:
        """Return the state after one step from `x`; stage i evaluates `rates[i]`.

        Raises:
            ValueError: if `checked`, and a rate does not keep the shape of the state.
        """
        k: list[Tensor] = []
        for rate, weights in zip(rates, self.stages, strict=True):
            k.append(rate(_combine(x, k, weights)))
            if checked:
                check_shape(rate, x, k[-1])
        return _combine(x, k, self.update)


@lru_cache
def fixed_grid(scheme: Scheme, n_time_steps: int, basis: Basis, epsilon: float) -> FixedGrid:
    """Return the grid of `n_time_steps` steps of h = 1 / n_time_steps over [0, 1]."""
    h = Fraction(1, n_time_steps)
    # In rationals, so that epsilon = n_time_steps gives a factor of exactly 1. Euler is then x + R
    # to the last bit.
    scale = h * Fraction(epsilon)

    def theta(t: Fraction, *, from_left: bool) -> Weights:
        return basis.weights(t, basis.locate(t, from_left=from_left))

    def scaled(weights: tuple[Fraction, ...]) -> tuple[tuple[int, float], ...]:
        return tuple((i, float(w * scale)) for i, w in enumerate(weights) if w != 0)

    return FixedGrid(
        stages=tuple(scaled(row) for row in scheme.a),
        update=scaled(scheme.b),
        thetas=tuple(
            tuple(theta((n + c) * h, from_left=c == 1) for c in scheme.c)
            for n in range(n_time_steps)
        ),
    )


def _combine(x: Tensor, k: list[Tensor], weights: tuple[tuple[int, float], ...]) -> Tensor:
    for i, weight in weights:
        x = torch.add(x, k[i], alpha=weight)
    return x


def check_shape(rate: Rate, state: Tensor, computed: Any) -> None:
    """Check that a rate has computed a tensor of the shape of the state.

    PyTorch would add tensors of different shapes where it can.

    Raises:
        ValueError: if the shapes differ, or `computed` is no tensor.
    """
    if isinstance(computed, Tensor) and computed.shape == state.shape:
        return
    became = (
        tuple(computed.shape) if isinstance(computed, Tensor) else f"a {type(computed).__name__}"
    )
    raise ValueError(
        f"the rate {_name(rate)} must keep the shape of its input; "
        f"{tuple(state.shape)} became {became}"
    )


def _name(rate: Rate) -> str:
    return type(rate.nodes[0] if isinstance(rate, Combined) else rate).__name__


def watched(compute: Callable[[Tensor], Tensor], rate: Rate, state: Tensor) -> Tensor:
    """Return `compute(state)`, and check that `rate` has not changed the state in place.

    The state is needed again: x + R(x) would become relu(x) + R(x).

    Raises:
        ValueError: if it has.
    """
    if torch.compiler.is_compiling():
        return compute(state)
    if state.is_inference():  # PyTorch counts no changes of it, but those of a copy from outside
        with torch.inference_mode(False):
            state = state.clone()
    version = state._version
    computed = compute(state)
    if state._version != version:
        raise ValueError(
            f"the rate {_name(rate)} must not change its input in place; "
            "use inplace=False in its first layer"
        )
    return computed


def evaluate(rate: Rate, state: Tensor, dtype: torch.dtype, *, checked: bool = False) -> Tensor:
    """Return the rate of a state, computed in `dtype`.

    Raises:
        ValueError: if `checked`, and the rate does not keep the shape of the state, or changes the
            state itself.
    """
    given = state.to(dtype)
    computed = watched(rate, rate, given) if checked else rate(given)
    if checked:
        check_shape(rate, state, computed)
    return computed.to(state.dtype)


def failure(
    scheme: AdaptiveScheme, reason: str, interval: tuple[Fraction, Fraction]
) -> IntegrationError:
    """Return the error of an adaptive scheme that cannot go on."""
    return IntegrationError(
        f"scheme {scheme.name} cannot reach rtol={scheme.rtol:g}, atol={scheme.atol:g}: "
        f"{reason}, between t = {interval[0]} and {interval[1]}"
    )
