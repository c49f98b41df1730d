"""The passage of a state through an ODE block: all that is known of it before it begins."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor, nn

from contnet.ode.adaptive import Effort, Integrator, Stretch
from contnet.ode.basis import Rate
from contnet.ode.gradient import Step, checkpointed, integrate_with_adjoint
from contnet.ode.integrate import FixedGrid, watched
from contnet.ode.schemes import AdaptiveScheme
from contnet.ode.settings import Settings
from contnet.ode.torchdiffeq_solvers import integrate_with_torchdiffeq
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
        self.effort = Effort(n_f_evals=0 if self.grid is None else self.grid.n_f_evals)
        basis = settings.basis
        self.combinations = {
            theta: basis.combination(theta)
            for thetas in (self.grid.thetas if self.grid is not None else ())
            for theta in thetas
            if basis.combines
        }

    def states(
        self, nodes: nn.ModuleList, x: Tensor, times: Sequence[float] | None = None
    ) -> Iterator[Tensor]:
        """Yield the states after x: one a step, or one for each element of theta.

        An adaptive scheme that is an embedded pair yields the states at `times` instead, where they
        are given.
        """
        shape, settings = x.shape, self.settings
        is_new = self.trial.begin(nodes, settings.basis, shape)
        has_few_bits = x.is_floating_point() and x.element_size() < 4
        # Under autocast the state would have 16 bits, too few to add up many small increments.
        if has_few_bits and _autocasts(x.device.type):
            x, has_few_bits = x.float(), False
        host = host_of(nodes) if settings.basis.combines else None
        by_adjoint = settings.gradient == "adjoint" and torch.is_grad_enabled()
        if self.grid is not None and not by_adjoint:
            yield from self._steps(self.grid, list(nodes), host, x, checked=is_new)
        else:
            # Nor can differences of states of 16 bits tell a solver how long its steps may be.
            lift = has_few_bits and self.grid is None
            state = x.float() if lift else x
            if settings.by_pair and not by_adjoint:
                found = self._by_pair(list(nodes), host, state, x.dtype, times)
            else:
                found = self._by_torchdiffeq(list(nodes), host, state, x.dtype, by_adjoint)
            for state in found:
                yield state.to(x.dtype)
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
        recomputes = self._recomputes()
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

    def _recomputes(self) -> bool:
        return self.settings.gradient == "checkpoint" and torch.is_grad_enabled()

    def _by_pair(
        self,
        nodes: Sequence[nn.Module],
        host: nn.Module | None,
        x: Tensor,
        dtype: torch.dtype,
        times: Sequence[float] | None,
    ) -> Iterator[Tensor]:
        """Yield the states at times, or at the ends of theta's elements, by an embedded pair."""
        settings, basis = self.settings, self.settings.basis
        assert isinstance(settings.scheme, AdaptiveScheme)
        integrator = Integrator(
            settings.scheme, settings.epsilon, dtype, recomputes=self._recomputes()
        )
        ends = [float(end) for _, end in basis.intervals]
        try:
            yield from self._through(integrator, nodes, host, x, ends if times is None else times)
        finally:  # also where the tolerance cannot be kept
            self.effort = integrator.effort

    def _through(
        self,
        integrator: Integrator,
        nodes: Sequence[nn.Module],
        host: nn.Module | None,
        x: Tensor,
        times: Sequence[float],
    ) -> Iterator[Tensor]:
        basis, pair = self.settings.basis, integrator.pair
        wanted = deque(times)
        while wanted and wanted[0] == 0:
            yield x
            wanted.popleft()
        for element, (start, end) in enumerate(basis.intervals):
            rate_at = basis.rate_on(nodes, element, host)
            modules = [nodes[k] for k in basis.functions(element)]
            modules += [] if host is None else [host]
            # Without an interpolant, or without the stages that it needs, a step ends at each time.
            interpolates = pair.interpolant is not None and not integrator.recomputes
            inside = {Fraction(t) for t in wanted if start < t < end}
            borders = [] if interpolates else sorted(inside)
            for stretch in pairwise((start, *borders, end)):
                for step in integrator.steps(Stretch(*stretch, rate_at, modules), x):
                    x = step.result
                    while wanted and wanted[0] <= step.end:
                        time = wanted.popleft()
                        at_end = time == step.end
                        yield x if at_end else step.at(time, pair, integrator.epsilon)

    def _by_torchdiffeq(
        self,
        nodes: Sequence[nn.Module],
        host: nn.Module | None,
        x: Tensor,
        dtype: torch.dtype,
        by_adjoint: bool,
    ) -> Iterator[Tensor]:
        """Yield the states at the ends of theta's elements, by a solver of torchdiffeq."""
        settings, basis = self.settings, self.settings.basis
        n_steps = ceil(settings.n_time_steps / basis.n_elements)
        self.effort = Effort()
        for element, interval in enumerate(basis.intervals):
            if by_adjoint:
                (k,) = basis.functions(element)
                x, n = integrate_with_adjoint(
                    settings.scheme, nodes[k], interval, n_steps, settings.epsilon, x, dtype
                )
            else:
                assert isinstance(settings.scheme, AdaptiveScheme)
                rate_at = basis.rate_on(nodes, element, host)
                x, n = integrate_with_torchdiffeq(
                    settings.scheme, rate_at, interval, n_steps, settings.epsilon, x, dtype
                )
            self.effort += Effort(n_f_evals=n)
            yield x


def _watched(step: Step, rates: Sequence[Rate], x: Tensor) -> Tensor:
    return watched(partial(step, rates), rates[0], x)


def _autocasts(device: str) -> bool:
    # PyTorch raises an error where there is no autocast, as on the meta device.
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
