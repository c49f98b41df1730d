"""Embedded pairs: orders in exact arithmetic and by measured slopes, and what they are made of."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torchdiffeq._impl import bosh3, dopri5, dopri8, fehlberg2

from contnet.ode.embedded import EmbeddedPair
from contnet.ode.embedded_step import AcceptedStep, attempt, weights_of
from contnet.ode.order_conditions import residuals, trees
from contnet.ode.pairs import PAIRS
from tests.problems import slope

ORDERS = {
    "heun_euler": (2, 1),
    "fehlberg2": (2, 1),
    "bosh3": (3, 2),
    "dopri5": (5, 4),
    "tsit5": (5, 4),
    "dopri8": (8, 7),
}
EACH = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


def test_the_pairs_are_those_of_the_design_with_their_orders() -> None:
    assert {name: (pair.order, pair.embedded_order) for name, pair in PAIRS.items()} == ORDERS


def test_there_are_as_many_rooted_trees_as_are_known() -> None:
    """Sequence A000081."""
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@EACH
def test_both_solutions_meet_all_conditions_of_their_orders_and_not_of_the_next(
    pair: EmbeddedPair,
) -> None:
    for b, order in ((pair.b, pair.order), (pair.b_embedded, pair.embedded_order)):
        found = list(residuals(pair.a, b, order + 1 if order < 8 else order))
        assert max(abs(r) for n, r in found if n <= order) <= pair.rounding
        if order < 8:
            assert max(abs(r) for n, r in found if n > order) > 1e-6
    assert pair.rounding <= {"tsit5": 2e-15, "dopri8": 1e-17}.get(pair.name, 0)


@EACH
def test_any_weight_that_is_off_is_seen(pair: EmbeddedPair) -> None:
    for name in ("b", "b_embedded"):
        for i in range(pair.n_stages):
            weights = list(getattr(pair, name))
            weights[i] += Fraction(1, 10**12)
            with pytest.raises(ValueError, match=f"scheme {pair.name}: a condition of order"):
                replace(pair, **{name: tuple(weights)})


@EACH
def test_a_pair_that_is_none_is_refused(pair: EmbeddedPair) -> None:
    with pytest.raises(ValueError, match="both orders are"):
        replace(pair, embedded_order=pair.order)
    with pytest.raises(ValueError, match="strictly lower triangular"):
        replace(pair, b=pair.b[:-1])
    with pytest.raises(ValueError, match="embedded_order must be a whole number of at least 1"):
        replace(pair, embedded_order=0)


def test_weights_may_be_texts_and_both_solutions_must_differ() -> None:
    pair = EmbeddedPair("heun", 2, ((), ("1",)), ("1/2", "1/2"), ("0", "1"), 1, (1, 0))
    assert pair.b == PAIRS["heun_euler"].b
    with pytest.raises(ValueError, match="b and b_embedded must differ"):
        replace(pair, b_embedded=pair.b)


def test_an_interpolant_that_is_off_is_refused() -> None:
    with pytest.raises(ValueError, match="a polynomial of degree 5 at most for each of 2 stages"):
        replace(PAIRS["heun_euler"], interpolant=((Fraction(1),),))
    for name in ("dopri5", "tsit5"):
        pair = PAIRS[name]
        assert pair.interpolant is not None
        first, *rest = pair.interpolant
        other = ((*first[:2], first[2] + Fraction(1, 10**9), *first[3:]), *rest)
        with pytest.raises(ValueError, match="of its interpolant fails by"):
            replace(pair, interpolant=other)


@pytest.mark.parametrize(
    "tableau",
    [
        bosh3._BOGACKI_SHAMPINE_TABLEAU,
        dopri5._DORMAND_PRINCE_SHAMPINE_TABLEAU,
        dopri8._DOPRI8_TABLEAU,
        fehlberg2._FEHLBERG2_TABLEAU,
    ],
    ids=["bosh3", "dopri5", "dopri8", "fehlberg2"],
)
def test_the_weights_are_those_of_torchdiffeq(tableau, request: pytest.FixtureRequest) -> None:
    pair = PAIRS[request.node.callspec.id]
    for row, expected in zip(pair.a[1:], tableau.beta, strict=False):
        assert list(map(float, row)) == pytest.approx(expected.tolist(), rel=1e-14, abs=1e-15)
    n = pair.n_stages
    assert list(map(float, pair.b)) == pytest.approx(tableau.c_sol.tolist()[:n], rel=1e-14)
    # torchdiffeq estimates the error of dopri5 by Shampine's weights: two thirds of the original's.
    share = 1.5 if pair.name == "dopri5" else 1.0
    errors = [share * error for error in tableau.c_error.tolist()[:n]]
    assert list(map(float, pair.error_weights)) == pytest.approx(errors, rel=1e-12, abs=1e-15)


def test_the_last_stage_is_the_first_of_the_next_step_where_it_is_known_to_be() -> None:
    reused = {name for name, pair in PAIRS.items() if pair.first_same_as_last}
    assert reused == {"bosh3", "dopri5", "tsit5"}


def pendulum(x: Tensor) -> Tensor:
    return torch.stack((x[1], -x[0].sin()))


def steps(pair: EmbeddedPair, n: int) -> list[AcceptedStep]:
    x, found = torch.tensor([1.0, 0.5], dtype=torch.float64), []
    for i in range(n):
        rates = [pendulum] * (pair.n_stages - 1)
        result, _, *k = attempt(weights_of(pair), 2 / n, rates, x, pendulum(x))
        found.append(AcceptedStep(2 * i / n, 2 * (i + 1) / n, x, result, tuple(k)))
        x = result
    return found


@EACH
def test_the_order_of_convergence_is_the_one_that_is_claimed(pair: EmbeddedPair) -> None:
    exact = steps(PAIRS["dopri8"], 400)[-1].result
    numbers = [3, 4, 6, 8] if pair.order == 8 else [48, 64, 96, 128]

    def error(n: int) -> float:
        return (steps(pair, n)[-1].result - exact).norm().item()

    assert slope(error, numbers) == pytest.approx(pair.order, abs=0.3)


@EACH
def test_the_estimate_of_a_step_shrinks_with_the_lower_order(pair: EmbeddedPair) -> None:
    x = torch.tensor([1.0, 0.5], dtype=torch.float64)

    def estimate(n: int) -> float:
        rates = [pendulum] * (pair.n_stages - 1)
        error = attempt(weights_of(pair), 1 / n, rates, x, pendulum(x))[1]
        return error.norm().item()

    lower = min(pair.order, pair.embedded_order)
    numbers = [2, 3, 4] if pair.order == 8 else [8, 16, 32, 64]
    assert slope(estimate, numbers) == pytest.approx(lower + 1, abs=0.35)


@pytest.mark.parametrize("name", ["dopri5", "tsit5"])
def test_states_within_a_step_are_of_order_4(name: str) -> None:
    pair = PAIRS[name]
    reference = steps(PAIRS["dopri8"], 480)

    def error(n: int) -> float:
        worst = 0.0
        for step in steps(pair, n):
            for share in (0.25, 0.5, 0.75):
                time = step.start + share * (step.end - step.start)
                exact = reference[round(time * 240) - 1].result
                worst = max(worst, (step.at(time, pair, 1.0) - exact).norm().item())
        return worst

    assert slope(error, [10, 20, 40]) == pytest.approx(5, abs=0.4)  # locally, one more
    (step, *_) = steps(pair, 10)
    for time, state in ((1e-15, step.state), (step.end, step.result)):
        torch.testing.assert_close(step.at(time, pair, 1.0), state, rtol=1e-14, atol=1e-14)
