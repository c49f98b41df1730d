"""How the gradient of an ODE block is computed, and what is kept of the forward pass for it.

    backprop     keeps the results of every rate evaluation; the exact gradient of the steps taken
    checkpoint   keeps the state at the beginning of each step and recomputes the rest in the
                 backward pass (Chen et al. 2016, arXiv 1604.06174); an equal gradient for a quarter
                 more time
    adjoint      keeps the state at the end of each interval; the gradient's own differential
                 equation is integrated backwards (Chen et al. 2018, arXiv 1806.07366), which gives
                 the gradient up to the scheme's error

Recomputation must not update running statistics a second time: batch norm updates them in the
forward pass alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchdiffeq import odeint_adjoint

from contnet.ode.bases import PiecewiseConstant
from contnet.ode.basis import Basis
from contnet.ode.combination import Combination
from contnet.ode.norms import batch_norms
from contnet.ode.schemes import AdaptiveScheme, Scheme

GRADIENTS = ("backprop", "checkpoint", "adjoint")
WITH_ADJOINT = ("euler", "midpoint", "heun2", "heun3", "rk4")
"""The fixed-step schemes that torchdiffeq has as well."""

Step = Callable[[Sequence[nn.Module], Tensor], Tensor]


def check_adjoint(scheme: Scheme | AdaptiveScheme, basis: Basis, n_time_steps: int) -> None:
    """Check that `adjoint` works with the settings of a block.

    Raises:
        ValueError: if theta(t) is not piecewise constant, torchdiffeq has no such scheme, or the
            steps do not divide the intervals of theta.
    """
    if not isinstance(basis, PiecewiseConstant):
        raise ValueError(
            f"gradient must be backprop or checkpoint with the basis {basis.name}, got 'adjoint'"
        )
    if not isinstance(scheme, Scheme):
        return
    if n_time_steps % basis.n_basis:
        raise ValueError(
            f"n_time_steps must be a multiple of n_basis for gradient=adjoint, got {n_time_steps}"
        )
    if scheme.name not in WITH_ADJOINT:
        raise ValueError(
            f"gradient must be backprop or checkpoint for {scheme.name}; adjoint has torchdiffeq's "
            f"schemes, {', '.join(WITH_ADJOINT)} and the adaptive ones"
        )


def checkpointed(step: Step, rates: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Return `step(rates, x)`, and keep only x for the backward pass."""
    modules = nn.ModuleList(rates)
    result: Tensor = checkpoint(
        step,
        rates,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), frozen_statistics(modules)),
    )
    return result


class Dynamics(nn.Module):
    """dx/dt = epsilon R(x), as torchdiffeq evaluates it in the forward and the backward pass."""

    def __init__(self, rate: nn.Module, epsilon: float) -> None:
        super().__init__()
        self.rate = rate
        self.epsilon = epsilon
        self.n_f_evals = 0
        self.is_forward = True
        self.autocast: AbstractContextManager[Any] = nullcontext()

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        if self.is_forward:
            self.n_f_evals += 1
            self.autocast = _autocast_as_now(state.device.type)
            return self.epsilon * self.rate(state)
        # In the precision of the forward pass: in another, the gradient would be of another rate.
        with self.autocast, frozen_statistics(self.rate):
            return self.epsilon * self.rate(state)


def _autocast_as_now(device: str) -> AbstractContextManager[Any]:
    return torch.autocast(
        device, torch.get_autocast_dtype(device), enabled=torch.is_autocast_enabled(device)
    )


def integrate_with_adjoint(
    scheme: Scheme | AdaptiveScheme,
    rate: nn.Module,
    interval: tuple[Fraction, Fraction],
    n_steps: int,
    epsilon: float,
    x: Tensor,
) -> tuple[Tensor, int]:
    """Return the state at the end of an interval, and the rate evaluations of the forward pass.

    A fixed-step scheme takes `n_steps` steps. An adaptive one chooses its steps, the last of which
    ends at the end of the interval.
    """
    dynamics = Dynamics(rate, epsilon)
    start, end = interval
    fixed = isinstance(scheme, Scheme)
    times = (
        [float(start + (end - start) * i / n_steps) for i in range(n_steps + 1)]
        if fixed
        else [start, end]
    )
    t = torch.tensor([float(time) for time in times], dtype=torch.float64, device=x.device)
    if isinstance(scheme, Scheme):
        states = odeint_adjoint(dynamics, x, t, method=scheme.name)
    else:
        tolerances = {"rtol": scheme.rtol, "atol": scheme.atol}
        # In the backward pass the times are reversed, and the interval's beginning is its end: no
        # knot lies behind it.
        options = {"options": {"step_t": t[1:]}, "adjoint_options": {}}
        states = odeint_adjoint(dynamics, x, t, method=scheme.name, **tolerances, **options)
    dynamics.is_forward = False
    return states[-1], dynamics.n_f_evals


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep running statistics unchanged inside the context; batch norms normalise as before."""
    norms = list(batch_norms(module))
    combinations = [m for m in module.modules() if isinstance(m, Combination)]
    saved = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # A momentum of 0 rather than no update: recomputation must make the same calls.
        norm.momentum, norm.num_batches_tracked = 0.0, None
    for combination in combinations:
        combination.learns = False
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, saved, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
        for combination in combinations:
            combination.learns = True
