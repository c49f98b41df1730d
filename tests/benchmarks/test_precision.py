"""The benchmark of work and precision: its problems, and how it compares two curves."""

from collections.abc import Callable

import pytest
import torch
from scipy.integrate import solve_ivp

from benchmarks.precision import Points, compared
from benchmarks.problems import EXACT, Problem


@pytest.mark.parametrize("make", EXACT)
def test_the_solution_of_a_problem_is_the_one_that_scipy_finds(make: Callable[[], Problem]) -> None:
    problem = make()
    found = solve_ivp(
        lambda t, x: problem.rate(float(t), torch.from_numpy(x.copy())).numpy(),
        (problem.start, problem.end),
        problem.initial.numpy(),
        method="DOP853",
        rtol=1e-13,
        atol=1e-14,
    )
    # Each turn about the Moon makes an error in Arenstorf's orbit some thousand times as large.
    close = 1e-6 if problem.name == "arenstorf" else 1e-11
    assert torch.from_numpy(found.y[:, -1].copy()).numpy() == pytest.approx(
        problem.final.numpy(), rel=close, abs=close
    )


def curve(factor: float, exponents: range, order: int = 5) -> Points:
    """Return points whose evaluations are `factor` times error^(-1 / order)."""
    return [
        {"tolerance": 10**-i, "error": 10**-i, "evaluations": factor * 10 ** (i / order)}
        for i in exponents
    ]


def test_a_curve_is_compared_with_the_best_of_the_others_at_equal_error() -> None:
    ours = curve(30, range(3, 9))
    found = compared(ours, {"a": curve(20, range(2, 8)), "b": curve(40, range(4, 10))})
    assert found is not None
    assert found["median"] == pytest.approx(1.5)  # a is the best down to 1e-7
    assert found["largest"] == pytest.approx(1.5)
    assert compared(ours, {"a": curve(20, range(10, 12))}) is None
    assert compared(ours, {}) is None


def test_a_point_that_costs_more_for_a_larger_error_does_not_count() -> None:
    ours = curve(30, range(3, 9))
    worse = {"tolerance": 1e-5, "error": 1e-3, "evaluations": 1e5}
    found = compared([*ours, worse], {"a": ours})
    assert found is not None
    assert (found["median"], found["largest"]) == pytest.approx((1, 1))
