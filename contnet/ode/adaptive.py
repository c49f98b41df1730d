"""Integration by embedded pairs, whose steps are chosen as they are taken.

Times and lengths of steps are plain numbers. The error ratio of a step, the estimate of its error
in units of the tolerance, is the one number that it reads from the device. A step is accepted if
its ratio is at most 1. A rejected step leaves nothing behind: no graph, no running statistics, no
random numbers.

A rate that draws random numbers of PyTorch's, as dropout does, draws the same ones in all stages of
a step: otherwise the estimate would measure the noise, and no step would be short enough.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import isfinite
from typing import NoReturn

import torch
from torch import Tensor, nn

from contnet.ode import step_control
from contnet.ode.basis import Rate
from contnet.ode.bystanders import Bystanders
from contnet.ode.embedded import EmbeddedPair
from contnet.ode.embedded_step import AcceptedStep, attempt, norm, weights_of
from contnet.ode.gradient import checkpointed
from contnet.ode.integrate import evaluate, failure
from contnet.ode.schemes import AdaptiveScheme
from contnet.ode.step_control import StepControl

SHORTEST = 1e-14
"""Steps below it are lost in the rounding of times from 0 to 1."""


@dataclass(frozen=True)
class Effort:
    """What an integration has cost: rate evaluations, and steps accepted and rejected."""

    n_f_evals: int = 0
    n_accepted: int = 0
    n_rejected: int = 0

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(
            self.n_f_evals + other.n_f_evals,
            self.n_accepted + other.n_accepted,
            self.n_rejected + other.n_rejected,
        )


@dataclass(frozen=True)
class Stretch:
    """An interval of depth-time on which theta is smooth.

    Args:
        start, end: the interval.
        rate_at: maps a time to the rate.
        modules: the modules that the rates evaluate.
    """

    start: Fraction
    end: Fraction
    rate_at: Callable[[float], Rate]
    modules: Sequence[nn.Module]


class Integrator:
    """Integrates dx/dt = epsilon R(x; theta(t)) from stretch to stretch, with steps of its choice.

    The length of the steps is carried from one stretch to the next.

    Args:
        scheme: an adaptive scheme that is an embedded pair.
        epsilon: factor of the rate.
        dtype: the data type in which rates are evaluated.
        recomputes: keep the state at the beginning of each accepted step alone, and recompute the
            rest in the backward pass.
    """

    def __init__(
        self, scheme: AdaptiveScheme, epsilon: float, dtype: torch.dtype, *, recomputes: bool
    ) -> None:
        assert isinstance(scheme.method, EmbeddedPair)
        self.scheme = scheme
        self.pair = scheme.method
        self.epsilon = epsilon
        self.dtype = dtype
        self.recomputes = recomputes
        self.control = StepControl(1 + min(self.pair.order, self.pair.embedded_order))
        self.length: float | None = None
        self.effort = Effort()

    def steps(self, stretch: Stretch, x: Tensor) -> Iterator[AcceptedStep]:
        """Yield the accepted steps through a stretch.

        Raises:
            ValueError: if a rate does not keep the shape of the state, or changes the state itself.
            IntegrationError: if the tolerance cannot be kept, or more than `max_num_steps` steps
                are needed.
        """
        passing = _Passing(self, stretch, x)
        while passing.time < float(stretch.end):
            yield passing.step()


class _Passing:
    """The way of a state through one stretch."""

    def __init__(self, integrator: Integrator, stretch: Stretch, x: Tensor) -> None:
        self.integrator = integrator
        self.stretch = stretch
        self.state = x
        self.time = float(stretch.start)
        self.n_attempts = 0
        self.is_random = False
        self.draws = Bystanders((), x.device)
        self.first = self._first_stage(checked=True)
        self.is_random = self.draws.has_drawn()
        if integrator.length is None:
            integrator.length = self._first_length()

    def step(self) -> AcceptedStep:
        """Take steps until one is accepted, and return it."""
        own, rest = self.integrator, float(self.stretch.end) - self.time
        while True:
            if self.n_attempts == own.scheme.max_num_steps:
                steps = "1 step is" if self.n_attempts == 1 else f"{self.n_attempts} steps are"
                self._fail(f"{steps} not enough (max_num_steps)")
            self.n_attempts += 1
            assert own.length is not None
            length = step_control.fitted(own.length, rest)
            before = Bystanders(self.stretch.modules, self.state.device)
            result, error, *stages = self._attempt(length)
            ratio = norm(own.scheme, error, self.state, result).item()
            draws = not self.is_random and before.has_drawn()
            if ratio <= 1 and not draws:
                step = AcceptedStep(self.time, self._end(length), self.state, result, tuple(stages))
                return self._accepted(step, length, ratio)
            del result, error, stages
            own.effort += Effort(n_rejected=1)
            before.restore()
            if draws:  # though not in its first stage: once more, with equal draws in all stages
                self.is_random, self.draws = True, before
                continue
            own.length = length * own.control.after_rejected(ratio)
            reason = "" if isfinite(ratio) else self._not_finite()
            if not reason and own.length < SHORTEST:
                reason = "its steps become too short"
            if reason:
                self._fail(reason)

    def _end(self, length: float) -> float:
        # Exactly the end of the stretch: past it theta is another function.
        end = float(self.stretch.end)
        return end if length == end - self.time else self.time + length

    def _attempt(self, length: float) -> Sequence[Tensor]:
        own, weights = self.integrator, weights_of(self.integrator.pair)
        end = self._end(length)
        times = (end if c == 1 else self.time + c * length for c in weights.c)
        rates = [self._rate(time) for time in times]
        own.effort += Effort(n_f_evals=len(rates))
        step = partial(attempt, weights, length * own.epsilon)
        if not own.recomputes:
            return step(rates, self.state, self.first)
        result, error, *stages = checkpointed(
            step, rates, self.stretch.modules, self.state, self.first
        )
        return result, error, stages[-1]

    def _accepted(self, step: AcceptedStep, length: float, ratio: float) -> AcceptedStep:
        own = self.integrator
        own.effort += Effort(n_accepted=1)
        proposed = length * own.control.after_accepted(ratio)
        self.time, self.state = step.end, step.result
        if step.end == float(self.stretch.end):
            # A step that was cut at the end says little about longer ones.
            assert own.length is not None
            own.length = max(proposed, own.length)
            return step
        own.length = proposed
        if own.pair.first_same_as_last and not self.is_random:
            self.first = step.stages[-1]
        else:
            self.draws = Bystanders((), self.state.device)
            self.first = self._first_stage(checked=False)
        return step

    def _rate(self, time: float, *, checked: bool = False) -> Rate:
        rate, dtype = self.stretch.rate_at(time), self.integrator.dtype
        draws = self.draws if self.is_random else None

        def evaluated(x: Tensor) -> Tensor:
            if draws is not None:
                draws.draw_again()
            return evaluate(rate, x, dtype, checked=checked)

        return evaluated

    def _first_stage(self, *, checked: bool) -> Tensor:
        own, rate = self.integrator, self._rate(self.time, checked=checked)
        own.effort += Effort(n_f_evals=1)
        if not own.recomputes:
            return rate(self.state)
        first: Tensor = checkpointed(
            lambda rates, x: rates[0](x), [rate], self.stretch.modules, self.state
        )
        return first

    def _first_length(self) -> float:
        own, x, first = self.integrator, self.state, self.first
        sizes = torch.stack((norm(own.scheme, x, x), norm(own.scheme, first, x)))
        of_state, of_rate = sizes.tolist()
        of_rate *= own.epsilon
        if not isfinite(of_state + of_rate):
            self._fail(self._not_finite() or "the rate is too large for the tolerance")
        longest = float(self.stretch.end) - self.time
        probe = step_control.length_of_probe(of_state, of_rate, longest)
        before = Bystanders(self.stretch.modules, x.device)
        own.effort += Effort(n_f_evals=1)
        # With gradients where the steps have them: a compiled rate is not compiled once more.
        there = self._rate(self.time + probe)(torch.add(x, first, alpha=probe * own.epsilon))
        before.restore()
        of_change = norm(own.scheme, there - first, x).item() * own.epsilon
        if not isfinite(of_change):
            return probe
        return step_control.first_length(probe, of_rate, of_change, own.pair.order)

    def _not_finite(self) -> str:
        is_finite = bool((self.state.isfinite() & self.first.isfinite()).all())
        return "" if is_finite else "the state is not finite"

    def _fail(self, reason: str) -> NoReturn:
        length = self.integrator.length
        place = f"at t = {self.time:.6g}"
        if length is not None:
            place += f" with a step of {length:.2g}"
        raise failure(
            self.integrator.scheme, f"{reason}, {place}", (self.stretch.start, self.stretch.end)
        )
