"""The solvers of torchdiffeq, as schemes: an independent implementation, and some more methods."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from contnet.ode.basis import Rate
from contnet.ode.error_norm import root_mean_square
from contnet.ode.integrate import evaluate, failure
from contnet.ode.pairs import PAIRS
from contnet.ode.schemes import SCHEMES, AdaptiveScheme, Scheme
from contnet.ode.solvers import Solver

WITH_FIXED_STEPS = ("euler", "midpoint", "heun2", "heun3", "rk4")
"""The fixed-step schemes that torchdiffeq has as well."""

NAMES_THERE = {"heun_euler": "adaptive_heun", "tsit5": None}
"""Pairs that torchdiffeq knows by another name, or does not know."""

ADAMS = ("explicit_adams", "implicit_adams")
"""Solvers that take equal steps."""

ADAMS_ORDER = 4


def method_of(scheme: Scheme | AdaptiveScheme) -> str | None:
    """Return torchdiffeq's name of a scheme; None if it has none of this tableau."""
    if isinstance(scheme, Scheme):
        equal = (name for name in WITH_FIXED_STEPS if SCHEMES[name].tableau == scheme.tableau)
        return next(equal, None)
    if isinstance(scheme.method, Solver):
        return scheme.method.method
    known = next((name for name, pair in PAIRS.items() if pair == scheme.method), None)
    return None if known is None else NAMES_THERE.get(known, known)


def options_of(
    scheme: AdaptiveScheme, interval: tuple[Fraction, Fraction], n_steps: int, end: Tensor
) -> dict[str, Any]:
    """Return the options with which torchdiffeq integrates over an interval.

    Solvers with equal steps take `n_steps`. For the others, the last step must end at the end of
    the interval: past it theta is another function, and interpolating back would cost accuracy.
    """
    method = method_of(scheme)
    if method in ADAMS:
        # Of higher order, they are unstable for a rate of a few units.
        return {"step_size": float(interval[1] - interval[0]) / n_steps, "max_order": ADAMS_ORDER}
    if method == "scipy_solver":
        return {}
    size = partial(root_mean_square, control=scheme.control)
    return {"step_t": end, "max_num_steps": scheme.max_num_steps, "norm": size}


def integrate_with_torchdiffeq(
    scheme: AdaptiveScheme,
    rate_at: Callable[[float], Rate],
    interval: tuple[Fraction, Fraction],
    n_steps: int,
    epsilon: float,
    x: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, int]:
    """Return the state at the end of an interval, and the number of rate evaluations.

    theta must be smooth on the interval. The rate is evaluated in `dtype`. The sizes of the steps
    are constants to the gradient. Solvers with equal steps take `n_steps`.

    Raises:
        IntegrationError: if the solver cannot keep its tolerance (torchdiffeq: underflow in dt), or
            needs more than `scheme.max_num_steps` steps.
        ValueError: if a gradient is wanted of a solver that has none.
    """
    n_f_evals = 0

    def dynamics(t: Tensor, state: Tensor) -> Tensor:
        nonlocal n_f_evals
        n_f_evals += 1
        time = t.item()
        if not isfinite(time):  # as after a state that is not finite
            raise ArithmeticError(f"a step ends at the time {time}")
        # The first evaluation is that of the state itself.
        return epsilon * evaluate(rate_at(time), state, dtype, checked=n_f_evals == 1)

    method = method_of(scheme)
    if not scheme.has_gradient and torch.is_grad_enabled():
        raise ValueError(
            f"scheme {scheme.name} has no gradient of its own; use it with gradient=adjoint, or "
            "within torch.no_grad()"
        )
    # Times in float64: they are few, and the solver's steps are differences of them.
    t = torch.tensor([float(end) for end in interval], dtype=torch.float64, device=x.device)
    options = options_of(scheme, interval, n_steps, t[1:])
    tolerances = {"rtol": scheme.rtol, "atol": scheme.atol}
    with solver_failures(scheme, interval, x):
        states = odeint(dynamics, x, t, method=method, **tolerances, options=options)
    return states[-1], n_f_evals


@contextmanager
def solver_failures(
    scheme: AdaptiveScheme, interval: tuple[Fraction, Fraction], x: Tensor
) -> Iterator[None]:
    """Raise an `IntegrationError` within the context where torchdiffeq cannot go on from x."""
    try:
        yield
    except (AssertionError, ArithmeticError) as error:
        reason = " ".join(str(error).split())
        # torchdiffeq prints the state, or a step of the length NaN.
        if "nan" in reason.lower() or "non-finite" in reason or not x.isfinite().all():
            reason = "the state is not finite"
        raise failure(scheme, reason, interval) from error
