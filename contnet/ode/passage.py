"""The passage of a state through an ODE block: all that is known of it before it begins."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from contnet.ode.basis import Rate
from contnet.ode.gradient import Step, checkpointed, integrate_with_adjoint
from contnet.ode.integrate import FixedGrid, integrate_adaptively, watched
from contnet.ode.schemes import AdaptiveScheme
from contnet.ode.settings import Settings
from contnet.ode.trial import Trial, host_of


class Passage:
    """The steps from x(0) to x(1) that settings ask for, through whatever nodes it is given.

    Args:
        settings: the settings of an ODE block.
        step: `FixedGrid.step`, or the same compiled.
    """

    def __init__(self, settings: Settings, step: Callable[..., Tensor] = FixedGrid.step) -> None:
        self.settings = settings
        self.step = step
        self.trial = Trial()
        self.grid = settings.grid
        self.n_f_evals = 0 if self.grid is None else self.grid.n_f_evals
        basis = settings.basis
        self.combinations = {
            theta: basis.combination(theta)
            for thetas in (self.grid.thetas if self.grid is not None else ())
            for theta in thetas
            if basis.combines
        }

    def states(self, nodes: nn.ModuleList, x: Tensor) -> Iterator[Tensor]:
        """Yield the states after x: one a step, or one for each element of theta."""
        shape, settings = x.shape, self.settings
        is_new = self.trial.begin(nodes, settings.basis, shape)
        has_few_bits = x.is_floating_point() and x.element_size() < 4
        # Under autocast the state would have 16 bits, too few to add up many small increments.
        if has_few_bits and _autocasts(x.device.type):
            x, has_few_bits = x.float(), False
        by_adjoint = settings.gradient == "adjoint" and torch.is_grad_enabled()
        host = host_of(nodes) if settings.basis.combines else None
        if self.grid is not None and not by_adjoint:
            yield from self._steps(self.grid, list(nodes), host, x, checked=is_new)
        else:
            # Nor can differences of states of 16 bits tell a solver how long its steps may be.
            lift = has_few_bits and self.grid is None
            state = x.float() if lift else x
            yield from self._elements(list(nodes), host, state, x.dtype, by_adjoint)
        self.trial.end(nodes, settings.basis, shape)

    def _steps(
        self,
        grid: FixedGrid,
        nodes: Sequence[nn.Module],
        host: nn.Module | None,
        x: Tensor,
        *,
        checked: bool,
    ) -> Iterator[Tensor]:
        """Yield the states after each step."""
        # A compiled step checks shapes while it is compiled, at no cost later.
        step: Step = partial(self.step, grid, checked=checked or self.step is not FixedGrid.step)
        if checked:
            step = partial(_watched, step)
        basis = self.settings.basis
        recomputes = self.settings.gradient == "checkpoint" and torch.is_grad_enabled()
        for thetas in grid.thetas:
            rates = [
                basis.rate(nodes, theta, self.combinations.get(theta), host) for theta in thetas
            ]
            if recomputes:
                used = {k for theta in thetas for k, _ in theta}
                modules = [nodes[k] for k in used]
                x = checkpointed(step, rates, modules if host is None else [*modules, host], x)
            else:
                x = step(rates, x)
            yield x

    def _elements(
        self,
        nodes: Sequence[nn.Module],
        host: nn.Module | None,
        x: Tensor,
        dtype: torch.dtype,
        by_adjoint: bool,
    ) -> Iterator[Tensor]:
        """Yield the states at the ends of theta's elements in `dtype`, the rate's own."""
        settings, basis = self.settings, self.settings.basis
        self.n_f_evals = 0
        for element, interval in enumerate(basis.intervals):
            if by_adjoint:
                steps = settings.n_time_steps // basis.n_basis
                (k,) = basis.functions(element)
                x, n = integrate_with_adjoint(
                    settings.scheme, nodes[k], interval, steps, settings.epsilon, x, dtype
                )
            else:
                assert isinstance(settings.scheme, AdaptiveScheme)
                rate_at = basis.rate_on(nodes, element, host)
                x, n = integrate_adaptively(
                    settings.scheme, rate_at, interval, settings.epsilon, x, dtype
                )
            self.n_f_evals += n
            yield x.to(dtype)


def _watched(step: Step, rates: Sequence[Rate], x: Tensor) -> Tensor:
    return watched(partial(step, rates), rates[0], x)


def _autocasts(device: str) -> bool:
    # PyTorch raises an error where there is no autocast, as on the meta device.
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
