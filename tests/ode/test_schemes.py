from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

import pytest
import torch

from contnet import ADAPTIVE_SCHEMES, SCHEMES
from contnet.ode.bases import PiecewiseConstant
from contnet.ode.integrate import fixed_grid
from contnet.ode.schemes import Scheme, find_scheme
from tests.problems import Exponential, slope

ORDERS = {
    "euler": 1,
    "midpoint": 2,
    "heun2": 2,
    "ralston2": 2,
    "heun3": 3,
    "rk4": 4,
    "rk4_classic": 4,
}


def test_the_fixed_step_schemes_are_those_of_the_design_with_their_orders() -> None:
    assert {name: scheme.order for name, scheme in SCHEMES.items()} == ORDERS


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_order_of_convergence_on_a_smooth_non_autonomous_problem(scheme) -> None:
    x = torch.ones(1, dtype=torch.float64)

    def error(n: int) -> float:
        grid = fixed_grid(scheme, n, PiecewiseConstant(1), epsilon=1.0)
        state = x
        for step in range(n):
            state = grid.step(
                [partial(Exponential.rate, (step + float(c)) / n) for c in scheme.c], state
            )
        return (state - Exponential.solution(x)).abs().item()

    assert slope(error, [32, 64, 128, 256]) == pytest.approx(scheme.order, abs=0.1)


def test_a_tableau_with_a_row_that_misses_its_c_is_refused() -> None:
    with pytest.raises(ValueError, match="does not sum to c"):
        replace(SCHEMES["midpoint"], c=(Fraction(0), Fraction(1)))


def test_a_tableau_of_lower_order_than_it_claims_is_refused() -> None:
    with pytest.raises(ValueError, match="a condition of order 3 fails"):
        replace(SCHEMES["heun2"], order=3)
    with pytest.raises(ValueError, match="a condition of order 1 fails by -1/2"):
        replace(SCHEMES["euler"], b=(Fraction(1, 2),))


def test_an_implicit_tableau_is_refused() -> None:
    with pytest.raises(ValueError, match="strictly lower triangular"):
        replace(SCHEMES["euler"], a=((Fraction(1),),))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_the_self_check_sees_any_weight_that_is_off(scheme) -> None:
    for i in range(scheme.n_stages):
        b = list(scheme.b)
        b[i] += Fraction(1, 1000)
        with pytest.raises(ValueError, match="fails"):
            replace(scheme, b=tuple(b))


def test_find_scheme_sets_tolerances_and_refuses_names_that_it_does_not_know() -> None:
    assert find_scheme("dopri5", rtol=1e-7).rtol == 1e-7
    assert find_scheme("dopri5", rtol=1e-7).atol == ADAPTIVE_SCHEMES["dopri5"].atol
    with pytest.raises(ValueError, match=r"scheme must be one of euler, .*; got 'eulerr'"):
        find_scheme("eulerr")
    with pytest.raises(ValueError, match="rtol must be a number greater than 0, got -1"):
        find_scheme("bosh3", rtol=-1)


@pytest.mark.parametrize("c", [Fraction(3, 2), Fraction(-1)])
def test_a_stage_outside_of_its_step_is_refused(c: Fraction) -> None:
    """It would look up the weights of another interval, or of none."""
    b = 1 / (2 * c)
    with pytest.raises(ValueError, match=f"scheme mine: c must be from 0 to 1, got {c}"):
        Scheme("mine", 2, a=((), (c,)), b=(1 - b, b), c=(Fraction(0), c))


@pytest.mark.parametrize("number", [float, str, Fraction])
def test_a_tableau_is_kept_as_fractions_whatever_it_is_given_as(number: Callable) -> None:
    """In floats, some of these stages would lie beside the knot that they lie on."""
    midpoint = SCHEMES["midpoint"]
    a, b, c = (
        tuple(tuple(map(number, row)) for row in midpoint.a),
        tuple(map(number, midpoint.b)),
        tuple(map(number, midpoint.c)),
    )
    made = Scheme("midpoint", 2, a, b, c)
    assert made == midpoint
    assert {type(x) for row in (*made.a, made.b, made.c) for x in row} == {Fraction}
    for n in range(1, 50):
        basis = PiecewiseConstant(2 * n)
        assert fixed_grid(made, n, basis, 1.0) == fixed_grid(midpoint, n, basis, 1.0)
    with pytest.raises(ValueError, match="NaN"):
        Scheme("euler", 1, ((),), (float("nan"),), (0,))
