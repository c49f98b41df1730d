"""How the gradient of an ODE block is computed, and what is kept of the forward pass for it.

    backprop     keeps the results of every rate evaluation; the exact gradient of the steps taken
    checkpoint   keeps the state at the beginning of each step and recomputes the rest in the
                 backward pass (Chen et al. 2016, arXiv 1604.06174); an equal gradient for a quarter
                 more time
    adjoint      keeps the state at the end of each interval; the gradient's own differential
                 equation is integrated backwards (Chen et al. 2018, arXiv 1806.07366), which gives
                 the gradient up to the scheme's error

The backward pass computes with the weights and buffers that the forward pass had. What it does to
buffers is dropped: batch norm updates its running statistics in the forward pass alone.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchdiffeq import odeint_adjoint

from contnet.ode.bases import PiecewiseConstant
from contnet.ode.basis import Basis, Rate
from contnet.ode.exchange import evaluate_with
from contnet.ode.integrate import evaluate
from contnet.ode.schemes import AdaptiveScheme, Scheme
from contnet.ode.torchdiffeq_solvers import (
    WITH_FIXED_STEPS,
    method_of,
    options_of,
    solver_failures,
)

GRADIENTS = ("backprop", "checkpoint", "adjoint")

Step = Callable[..., Any]
"""Maps the rates of a step and its inputs, tensors, to its results."""


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
    if isinstance(scheme, Scheme) and n_time_steps % basis.n_basis:
        raise ValueError(
            f"n_time_steps must be a multiple of n_basis for gradient=adjoint, got {n_time_steps}"
        )
    if method_of(scheme) is None:
        raise ValueError(
            f"gradient must be backprop or checkpoint for {scheme.name}; adjoint has torchdiffeq's "
            f"schemes, {', '.join(WITH_FIXED_STEPS)} and the adaptive ones but tsit5"
        )


class Snapshot:
    """A module as it is now, to be evaluated later: with these parameters, from these buffers.

    The tensors of the module itself stay as they are then. `torch.func.functional_call` may have
    lent it the parameters, and taken them back by that time.

    Raises:
        RuntimeError: on evaluation, if a parameter was changed in place after `hold`.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parameters = dict(module.named_parameters())
        # Copies: the forward pass may update a buffer in place. A lazy one has no values yet.
        self.buffers = {
            name: buffer.clone()
            for name, buffer in module.named_buffers()
            if not nn.parameter.is_lazy(buffer)
        }
        self.versions: dict[str, int] = {}

    def hold(self) -> None:
        """Refuse parameters that are changed in place from here on, at the end of the forward pass.

        A rate may still bound its weights in place before it uses them.
        """
        self.versions = {
            name: p._version for name, p in self.parameters.items() if not p.is_inference()
        }

    def __call__(self, *inputs: Tensor) -> Any:
        for name, version in self.versions.items():
            if self.parameters[name]._version != version:
                raise RuntimeError(
                    f"the parameter {name} was changed in place since the forward pass, which the "
                    "backward pass recomputes; call backward before the optimizer's step"
                )
        buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        return evaluate_with(self.module, {**self.parameters, **buffers}, *inputs)


class OneStep(nn.Module):
    """A step as a module, so that its nodes' parameters and buffers can be exchanged."""

    def __init__(self, step: Step, rates: Sequence[Rate], nodes: Sequence[nn.Module]) -> None:
        super().__init__()
        self.step = step
        self.rates = list(rates)
        self.nodes = nn.ModuleList(nodes)

    def forward(self, *inputs: Tensor) -> Any:
        return self.step(self.rates, *inputs)


def checkpointed(
    step: Step, rates: Sequence[Rate], nodes: Sequence[nn.Module], *inputs: Tensor
) -> Any:
    """Return `step(rates, *inputs)`, and keep only the inputs for the backward pass.

    `nodes` are the modules that the rates evaluate.
    """
    now = OneStep(step, rates, nodes)
    later = Snapshot(now)
    evaluations = count()

    def run(*inputs: Tensor) -> Any:
        if next(evaluations):
            return later(*inputs)
        computed = now(*inputs)
        if not torch.compiler.is_compiling():
            later.hold()
        return computed

    return checkpoint(run, *inputs, use_reentrant=False)


class Dynamics(nn.Module):
    """dx/dt = epsilon R(x), as torchdiffeq evaluates it in the forward and the backward pass."""

    def __init__(self, rate: nn.Module, epsilon: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.rate = rate
        self.epsilon = epsilon
        self.dtype = dtype
        self.n_f_evals = 0
        self.later: Snapshot | None = None
        self.autocast: AbstractContextManager[Any] = nullcontext()

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        if self.later is None:
            self.n_f_evals += 1
            first = self.n_f_evals == 1
            return self.epsilon * evaluate(self.rate, state, self.dtype, checked=first)
        # In the precision of the forward pass: in another, the gradient would be of another rate.
        with self.autocast:
            return self.epsilon * evaluate(self.later, state, self.dtype)

    def end_forward_pass(self, device: str) -> None:
        """Evaluate the rate as it is now from here on."""
        self.autocast = _autocast_as_now(device)
        self.later = Snapshot(self.rate)
        self.later.hold()


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
    dtype: torch.dtype,
) -> tuple[Tensor, int]:
    """Return the state at the end of an interval, and the rate evaluations of the forward pass.

    A scheme with fixed steps takes `n_steps` steps. An adaptive one chooses its steps, the last of
    which ends at the end of the interval. The rate is evaluated in `dtype`.

    Raises:
        IntegrationError: if an adaptive scheme fails: see `integrate_with_torchdiffeq`.
    """
    dynamics = Dynamics(rate, epsilon, dtype)
    start, end = interval
    fixed = isinstance(scheme, Scheme)
    times = (
        [float(start + (end - start) * i / n_steps) for i in range(n_steps + 1)]
        if fixed
        else [start, end]
    )
    t = torch.tensor([float(time) for time in times], dtype=torch.float64, device=x.device)
    method = method_of(scheme)
    if isinstance(scheme, Scheme):
        states = odeint_adjoint(dynamics, x, t, method=method)
    else:
        tolerances = {"rtol": scheme.rtol, "atol": scheme.atol}
        there = options_of(scheme, interval, n_steps, t[1:])
        # In the backward pass the times are reversed, and the interval's beginning is its end: no
        # knot lies behind it. Its state is no batch of images.
        back = {
            name: there[name]
            for name in ("max_num_steps", "step_size", "max_order")
            if name in there
        }
        with solver_failures(scheme, interval, x):
            states = odeint_adjoint(
                dynamics,
                x,
                t,
                method=method,
                **tolerances,
                options=there,
                adjoint_options=back,
            )
    dynamics.end_forward_pass(x.device.type)
    result: Tensor = states[-1]
    if result.requires_grad:
        result.register_hook(_refuse_second_derivatives)
    return result, dynamics.n_f_evals


def _refuse_second_derivatives(gradient: Tensor) -> None:
    # torchdiffeq's backward pass leaves no graph behind: second derivatives would be 0.
    if torch.is_grad_enabled():
        raise RuntimeError(
            "gradient=adjoint has no second derivatives (create_graph=True); use backprop or "
            "checkpoint"
        )
