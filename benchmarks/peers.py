"""Adaptive solvers behind one call: contnet's, and those of the libraries that are installed.

A solver maps a problem and a tolerance, rtol = atol, to x(end) and the number of rate evaluations.
Each chooses its steps by its own rule, and all end their last step at the end of the interval.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import version
from importlib.util import find_spec
from math import inf

import numpy as np
import torch
from torch import Tensor
from torchdiffeq import odeint

from benchmarks.problems import Problem
from contnet import ADAPTIVE_SCHEMES
from contnet.ode.adaptive import Integrator, Stretch
from contnet.ode.integrate import IntegrationError

Solver = Callable[[Problem, float], tuple[Tensor, int]]

MOST_EVALUATIONS = 5_000
"""Rate evaluations after which a solver gives up."""

PEERS = ("torchdiffeq", "torchode", "diffrax")
"""The libraries to compare with."""

METHODS = {
    "torchdiffeq": {
        "dopri5": "dopri5",
        "bosh3": "bosh3",
        "heun_euler": "adaptive_heun",
        "dopri8": "dopri8",
    },
    "torchode": {"dopri5": "Dopri5", "tsit5": "Tsit5", "heun_euler": "Heun"},
    "diffrax": {
        "dopri5": "Dopri5",
        "tsit5": "Tsit5",
        "bosh3": "Bosh3",
        "heun_euler": "Heun",
        "dopri8": "Dopri8",
    },
}
"""What each library calls the schemes of contnet that it has."""


class GaveUpError(RuntimeError):
    """A solver needs too many evaluations, or cannot go on, as in an orbit that hits the Moon."""


class Counted:
    """The rate of a problem, which counts its evaluations and refuses more than `most`."""

    def __init__(self, problem: Problem, most: float = MOST_EVALUATIONS) -> None:
        self.rate = problem.rate
        self.most = most
        self.n = 0

    def __call__(self, t: float, x: Tensor) -> Tensor:
        if self.n == self.most:
            raise GaveUpError
        self.n += 1
        return self.rate(t, x)


def installed() -> dict[str, str]:
    """Return the versions of the libraries that are installed, and say which are not."""
    found = {name: version(name) for name in PEERS if find_spec(name)}
    for name in PEERS:
        if name not in found:
            print(f"{name} is not installed; it is left out")
    return found


def by_contnet(name: str) -> Solver:
    """Return a scheme of contnet."""

    def solve(problem: Problem, tolerance: float) -> tuple[Tensor, int]:
        rate, x = Counted(problem), problem.initial
        scheme = replace(
            ADAPTIVE_SCHEMES[name], rtol=tolerance, atol=tolerance, max_num_steps=MOST_EVALUATIONS
        )
        integrator = Integrator(scheme, 1.0, x.dtype, recomputes=False)
        stretch = Stretch(
            Fraction(problem.start), Fraction(problem.end), lambda t: lambda x: rate(t, x), []
        )
        try:
            for step in integrator.steps(stretch, x):
                x = step.result
        except IntegrationError as error:
            raise GaveUpError from error
        return x, rate.n

    return solve


def by_torchdiffeq(method: str) -> Solver:
    """Return a method of torchdiffeq. Its last step is asked to end at the end."""

    def solve(problem: Problem, tolerance: float) -> tuple[Tensor, int]:
        rate = Counted(problem)
        t = torch.tensor([problem.start, problem.end], dtype=torch.float64)
        try:
            states = odeint(
                lambda t, x: rate(t.item(), x),
                problem.initial,
                t,
                rtol=tolerance,
                atol=tolerance,
                method=method,
                options={"step_t": t[1:]},
            )
        except AssertionError as error:  # its step has become too short
            raise GaveUpError from error
        return states[-1], rate.n

    return solve


def by_torchode(method: str) -> Solver:
    """Return a method of torchode, with its integral controller."""
    import torchode

    def solve(problem: Problem, tolerance: float) -> tuple[Tensor, int]:
        rate = Counted(problem)
        term = torchode.ODETerm(lambda t, x: rate(t.item(), x[0])[None])
        t = torch.tensor([[problem.start], [problem.end]], dtype=torch.float64)
        found = torchode.AutoDiffAdjoint(
            getattr(torchode, method)(term=term),
            torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term),
        ).solve(torchode.InitialValueProblem(problem.initial[None], *t))
        return found.ys[0, -1], rate.n

    return solve


def by_diffrax(method: str) -> Solver:
    """Return a method of diffrax, with its default controller. It calls back for each rate."""
    import diffrax  # type: ignore[import-not-found,unused-ignore]
    import jax  # type: ignore[import-not-found,unused-ignore]

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # a call back may wait for it forever
    rate: Counted
    solver = getattr(diffrax, method)()

    def evaluate(t: "jax.Array", x: "jax.Array") -> np.ndarray:
        found: np.ndarray = rate(float(t), torch.from_numpy(np.array(x))).numpy()
        return found

    def dynamics(t: "jax.Array", x: "jax.Array", _: None) -> "jax.Array":
        return jax.pure_callback(evaluate, jax.ShapeDtypeStruct(x.shape, x.dtype), t, x)

    @jax.jit
    def run(
        start: float, end: float, x: "jax.Array", tolerance: float
    ) -> tuple["jax.Array", "jax.Array"]:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(dynamics),
            solver,
            start,
            end,
            None,
            x,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=MOST_EVALUATIONS // solver.tableau.num_stages,
            throw=False,
        )
        return found.ys[-1], found.result == diffrax.RESULTS.successful

    def solve(problem: Problem, tolerance: float) -> tuple[Tensor, int]:
        nonlocal rate
        rate = Counted(problem, most=inf)  # jax prints a traceback for each error in a call back
        x, succeeded = run(problem.start, problem.end, problem.initial.numpy(), tolerance)
        if not succeeded:
            raise GaveUpError
        return torch.from_numpy(np.array(x)), rate.n

    return solve


MAKE: dict[str, Callable[[str], Solver]] = {
    "torchdiffeq": by_torchdiffeq,
    "torchode": by_torchode,
    "diffrax": by_diffrax,
}
"""The solver of each library, by its name for the method."""
