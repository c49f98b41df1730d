"""Steps of the schemes across the knots of theta(t): orders, look-ups, and torchdiffeq."""

import copy
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from contnet import ADAPTIVE_SCHEMES, SCHEMES, ODEBlock, Scheme
from contnet.ode.bases import PiecewiseConstant
from tests.problems import Linear, slope

IN_TORCHDIFFEQ = ["euler", "midpoint", "heun2", "heun3", "rk4"]


def exact(block: ODEBlock, x: Tensor) -> Tensor:
    for node in block.nodes:
        x = node.flow(x, block.epsilon / block.n_basis)
    return x


class Recorder(nn.Module):
    """A rate of one that records which node was called, and with which state."""

    def __init__(self, calls: list) -> None:
        super().__init__()
        self.calls = calls

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((self, x.item()))
        return torch.ones_like(x)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_order_of_convergence_where_theta_jumps(scheme: Scheme) -> None:
    block = ODEBlock(Linear, n_basis=4, scheme=scheme, epsilon=2.0)
    x = torch.randn(3, 4, dtype=torch.float64)

    def error(n: int) -> float:
        block.set_manifestation(n_time_steps=n)
        return (block(x) - exact(block, x)).norm().item()

    assert slope(error, [32, 64, 128, 256]) == pytest.approx(scheme.order, abs=0.1)


def stock_torchdiffeq(block: ODEBlock, x: Tensor, look_up) -> Tensor:
    times = torch.linspace(0, 1, block.n_time_steps + 1, dtype=torch.float64)

    def dynamics(t: Tensor, state: Tensor) -> Tensor:
        return block.epsilon * block.nodes[look_up(t.item(), times.tolist())](state)

    return odeint(dynamics, x, times, method=block.scheme.name, options={"perturb": True})[-1]


@pytest.mark.parametrize("scheme", IN_TORCHDIFFEQ)
@pytest.mark.parametrize("n_basis", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("n_time_steps", [1, 2, 4, 8, 16])
def test_equals_stock_torchdiffeq_at_times_exact_in_binary(
    scheme: str, n_basis: int, n_time_steps: int
) -> None:
    block = ODEBlock(Linear, n_basis, n_time_steps, scheme)
    x = torch.randn(3, 4, dtype=torch.float64)
    oracle = stock_torchdiffeq(block, x, lambda t, _: int(t * n_basis))
    torch.testing.assert_close(block(x), oracle, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scheme", IN_TORCHDIFFEQ)
@pytest.mark.parametrize("n_basis", range(1, 13))
def test_equals_torchdiffeq_with_a_look_up_robust_to_rounding(scheme: str, n_basis: int) -> None:
    """Look up theta in floats, with a tolerance for rounding.

    At the border of a step the sign of torchdiffeq's perturbation tells the side. A stage inside a
    step that falls on a knot belongs to the interval that begins there.
    """
    x = torch.randn(3, 4, dtype=torch.float64)
    for n in range(1, 13):
        block = ODEBlock(Linear, n_basis, n, scheme)

        def look_up(t: float, times: list[float], n: int = n) -> int:
            for i, border in enumerate(times):
                if abs(t - border) < 1e-9:
                    begins = t > border
                    knot = Fraction(i, n) * n_basis
                    return int(knot) if begins or knot.denominator > 1 else int(knot) - 1
            return int(Fraction(round(t * 6 * n), 6 * n) * n_basis)

        torch.testing.assert_close(
            block(x), stock_torchdiffeq(block, x, look_up), rtol=1e-12, atol=1e-12
        )


def test_a_right_limit_at_the_end_of_a_step_would_make_rk4_first_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check the test above: the order follows from the knot rule."""
    right_limit = lambda self, t, from_left: min(int(t * self.n_basis), self.n_basis - 1)  # noqa: E731
    monkeypatch.setattr(PiecewiseConstant, "locate", right_limit)
    scheme = copy.copy(SCHEMES["rk4_classic"])
    object.__setattr__(scheme, "name", "right limit")  # a grid of its own in the cache
    block = ODEBlock(Linear, n_basis=4, scheme=scheme, epsilon=2.0)
    x = torch.randn(3, 4, dtype=torch.float64)

    def error(n: int) -> float:
        block.set_manifestation(n_time_steps=n)
        return (block(x) - exact(block, x)).norm().item()

    assert slope(error, [32, 64, 128, 256]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("denominator", [3, 10, 20, 49, 100])
def test_a_step_looks_up_its_own_interval_where_floating_point_would_not(denominator: int) -> None:
    basis = PiecewiseConstant(denominator)
    for i in range(denominator):
        assert basis.locate(Fraction(i, denominator), from_left=False) == i
        assert basis.locate(Fraction(i + 1, denominator), from_left=True) == i


def test_stages_evaluate_the_nodes_and_states_that_the_tableau_says() -> None:
    calls: list = []
    block = ODEBlock(lambda: Recorder(calls), n_basis=2, n_time_steps=1, scheme="rk4_classic")
    block(torch.zeros(1, dtype=torch.float64))
    first, second = block.nodes
    assert [node for node, _ in calls] == [first, second, second, second]
    assert [state for _, state in calls] == [0, 0.5, 0.5, 1]


@pytest.mark.parametrize("scheme", ADAPTIVE_SCHEMES)
def test_adaptive_schemes_reach_their_tolerance_across_the_jumps_of_theta(scheme: str) -> None:
    block = ODEBlock(Linear, n_basis=3, scheme=scheme, epsilon=2.0, rtol=1e-6, atol=1e-6)
    x = torch.randn(3, 4, dtype=torch.float64)
    # The two solutions of fehlberg2 differ little: it misjudges its error by a factor of 100.
    tolerance = 5e-4 if scheme == "fehlberg2" else 1e-5
    torch.testing.assert_close(block(x), exact(block, x), rtol=tolerance, atol=tolerance)
    assert block.trajectory(x).shape == (4, 3, 4)


def test_n_f_evals_counts_the_calls_of_an_adaptive_scheme() -> None:
    calls: list = []
    block = ODEBlock(lambda: Recorder(calls), n_basis=2, scheme="dopri5")
    block(torch.zeros(1, dtype=torch.float64))
    assert block.n_f_evals == len(calls) > 0


def test_an_adaptive_scheme_that_cannot_reach_its_tolerance_says_so() -> None:
    class Explosive(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    block = ODEBlock(Explosive, scheme="dopri5")
    with pytest.raises(
        RuntimeError,
        match=r"cannot reach rtol=0.0001, atol=0.0001: its steps become too short, at t = 0.5",
    ):
        block(torch.full((1,), 2.0))
