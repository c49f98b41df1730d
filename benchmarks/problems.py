"""Differential equations dx/dt = f(t, x) with known solutions, in float64."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional
from torchdiffeq import odeint

from contnet import ContinuousNet, ODEBlock

MU = 0.012277471
"""Mass of the Moon over that of Earth and Moon, in Arenstorf's orbit."""

RATES = (1e1, 1e2, 1e3)
"""Rates of the decay. With 1e4, dopri5 needs 4,000 evaluations at any tolerance to be stable."""


@dataclass(frozen=True)
class Problem:
    """An initial value problem.

    Args:
        name: what it is called.
        start, end: the interval.
        rate: maps (t, x) to dx/dt; x and dx/dt are of shape (N,).
        initial: x(start).
        final: x(end).
    """

    name: str
    start: float
    end: float
    rate: Callable[[float, Tensor], Tensor]
    initial: Tensor
    final: Tensor


def of_solution(
    name: str,
    start: float,
    end: float,
    rate: Callable[[float, Tensor], Tensor],
    solution: Callable[[float], Tensor],
) -> Problem:
    """Return the problem whose solution is known at all times."""
    return Problem(name, start, end, rate, solution(start), solution(end))


def constant() -> Problem:
    """Return the problem whose solution is a line, from which others part by a fifth power."""

    def line(t: float) -> Tensor:
        return torch.tensor([3 + t / 5], dtype=torch.float64)

    return of_solution("constant", 1, 8, lambda t, x: 0.2 + (x - line(t)) ** 5, line)


def sine() -> Problem:
    """Return dx/dt = 2 x / t + t^4 sin 2t - t^2 + 4 t^3.

    The solution is t^2 times an integral of t^2 sin 2t - 1 + 4 t.
    """

    def solution(t: float) -> Tensor:
        sin, cos = math.sin(2 * t), math.cos(2 * t)
        integral = (t * sin - t * t * cos) / 2 + cos / 4 - t + 2 * t * t + math.pi - 0.25
        return torch.tensor([t * t * integral], dtype=torch.float64)

    def rate(t: float, x: Tensor) -> Tensor:
        return x * (2 / t) + (t**4 * math.sin(2 * t) - t**2 + 4 * t**3)

    return of_solution("sine", 1, 8, rate, solution)


def linear() -> Problem:
    """Return dx/dt = A x with a random skew A of ten rows: a rotation."""
    random = torch.randn(10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = 0.1 * (random - random.T)

    def solution(t: float) -> Tensor:
        return torch.linalg.matrix_exp(t * a).sum(1)

    return of_solution("linear", 1, 8, lambda t, x: a @ x, solution)


def arenstorf() -> Problem:
    """Return a closed orbit about Earth and Moon (Hairer, Norsett, Wanner I, II.0), one period.

    The state is (x, y, dx/dt, dy/dt) in the rotating frame.
    """
    initial = torch.tensor([0.994, 0, 0, -2.00158510637908252], dtype=torch.float64)

    def rate(t: float, state: Tensor) -> Tensor:
        x, y, dx, dy = state.tolist()
        earth = (1 - MU) / ((x + MU) ** 2 + y**2) ** 1.5
        moon = MU / ((x - 1 + MU) ** 2 + y**2) ** 1.5
        ddx = x + 2 * dy - earth * (x + MU) - moon * (x - 1 + MU)
        ddy = y - 2 * dx - earth * y - moon * y
        return torch.tensor([dx, dy, ddx, ddy], dtype=torch.float64)

    return Problem("arenstorf", 0, 17.0652165601579625589, rate, initial, initial)


def decay() -> Problem:
    """Return decays at rates from 10 to 1e3, until the slowest is at 14 %: stiff at the end."""
    rates = torch.tensor(RATES, dtype=torch.float64)
    return of_solution("decay", 0, 0.2, lambda t, x: -rates * x, lambda t: torch.exp(-t * rates))


def network() -> Problem:
    """Return the first ODE block of a small network, trained for 30 batches, on two digits."""
    torch.manual_seed(0)
    published = load_digits()
    images = torch.from_numpy(published.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(published.target).long()
    net = ContinuousNet(1, alpha=4, scheme="rk4_classic")
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for batch in range(30):
        chosen = slice(32 * batch, 32 * (batch + 1))
        loss = functional.cross_entropy(net(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.double().eval().requires_grad_(False)
    block = net.blocks[0]
    assert isinstance(block, ODEBlock)
    node = block.nodes[0]
    state = net.stitches[0](net.stem(images[:2].double()))

    def rate(t: float, x: Tensor) -> Tensor:
        found: Tensor = node(x.view(state.shape)).flatten()
        return found

    return Problem("network", 0, 1, rate, state.flatten(), reference(rate, state.flatten()))


def reference(rate: Callable[[float, Tensor], Tensor], x: Tensor) -> Tensor:
    """Return x(1) by torchdiffeq's dopri5, with a tolerance of 1e-13."""
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    found: Tensor = odeint(
        lambda t, x: rate(t.item(), x),
        x,
        t,
        rtol=1e-13,
        atol=1e-13,
        method="dopri5",
        options={"step_t": t[1:]},
    )
    return found[-1]


EXACT = (constant, sine, linear, arenstorf, decay)
"""The problems whose solutions are known in closed form, or periodic."""
