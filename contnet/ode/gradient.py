"""How the gradient of an ODE block is found, and what of the forward pass is kept for it.

    backprop     what every rate evaluation has computed; the exact gradient of the steps that were taken
    checkpoint   the state at the beginning of each step, which is computed again on the way back (Chen et al. 2016,
                 arXiv 1604.06174); the same gradient for a quarter more time
    adjoint      the state at the end of each interval; the gradient's own differential equation is integrated backwards
                 (Chen et al. 2018, arXiv 1806.07366), which gives the gradient up to the scheme's error

What is computed again must not be counted again: running statistics of batch norm are updated on the way forward alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint
from torchdiffeq import odeint_adjoint

from contnet.ode.bases import PiecewiseConstant
from contnet.ode.basis import Basis
from contnet.ode.combination import Combination
from contnet.ode.schemes import AdaptiveScheme, Scheme

GRADIENTS = ("backprop", "checkpoint", "adjoint")
WITH_ADJOINT = ("euler", "midpoint", "heun2", "heun3", "rk4")
"""The fixed-step schemes that torchdiffeq has, too."""

Step = Callable[[Sequence[nn.Module], Tensor], Tensor]


def check_adjoint(scheme: Scheme | AdaptiveScheme, basis: Basis, n_time_steps: int) -> None:
    """Refuse the settings of a block that `adjoint` does not work with.

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
    """`step(rates, x)`, of which nothing but x is kept."""
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
    """dx/dt = epsilon R(x), as torchdiffeq evaluates it: forwards, and once more on the way back."""

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
        # In the precision of the way forward, or the gradient would be another rate's.
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
    """The state at the end of an interval, and the number of rate evaluations it took on the way forward.

    A fixed-step scheme takes `n_steps` steps; an adaptive one its own, and lands on the end of the interval.
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
        # Backwards the times are the other way round, and there is no knot behind the interval's beginning to land on.
        options = {"options": {"step_t": t[1:]}, "adjoint_options": {}}
        states = odeint_adjoint(dynamics, x, t, method=scheme.name, **tolerances, **options)
    dynamics.is_forward = False
    return states[-1], dynamics.n_f_evals


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within, batch norm normalises as ever and leaves its running statistics as they are."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    combinations = [m for m in module.modules() if isinstance(m, Combination)]
    saved = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # Updated by nothing, rather than not at all: what is computed again has to be the same, call by call.
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
