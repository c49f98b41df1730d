"""When a network is refined, and how far."""

import re
from typing import Any

import pytest

from contnet.ode.bases import make_basis
from contnet.training.growth import Growth


def test_the_factor_of_the_steps_is_a_function_of_the_epoch() -> None:
    growth = Growth([30, 50, 70], [], [], 120)
    factors = [growth.factor(epoch) for epoch in (0, 29, 30, 49, 50, 69, 70, 119)]
    assert factors == [1, 1, 2, 2, 4, 4, 8, 8]
    assert growth.n_basis(100, 120) == 0


def test_the_number_of_nodes_is_a_function_of_the_share_of_the_steps() -> None:
    growth = Growth([], [0.25, 0.8], [2, 8], 120)
    assert [growth.n_basis(step, 10) for step in (0, 1, 2, 7, 8, 9)] == [0, 0, 2, 2, 8, 8]
    assert growth.factor(119) == 1


def test_the_factor_over_a_run_is_that_of_its_refinements() -> None:
    constant, linear = make_basis("piecewise_constant", 1), make_basis("continuous_linear", 3)
    assert Growth([1, 2], [], [], 5).steps_factor(constant) == 4
    assert Growth([], [0.5, 0.7], [2, 6], 5).steps_factor(constant) == 6
    assert Growth([], [0.5, 0.7], [2, 9], 5).steps_factor(linear) == 4
    assert Growth([], [], [], 5).steps_factor(linear) == 1
    with pytest.raises(ValueError, match="2 nodes can be refined to 4, 6, 8 or more nodes, got 3"):
        Growth([], [0.5, 0.7], [2, 3], 5).steps_factor(constant)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [0.5], []), "to must have a number of nodes for each share in at, got at=[0.5] and"),
        (
            ([], [], [8]),
            "to must have a number of nodes for each share in at, got at=[] and to=[8]",
        ),
        (([2], [0.5], [8]), "epochs must be [] where at is given, got [2]"),
        (([], [0], [8]), "at must be a number greater than 0 and less than 1, got 0"),
        (([], [1.0], [8]), "at must be a number greater than 0 and less than 1, got 1.0"),
        (([], [True], [8]), "at must be a number greater than 0 and less than 1, got True"),
        (([], 0.5, [8]), "at must be a list of shares of the run, got 0.5"),
        (([], [0.5], 8), "to must be a list of numbers of nodes, got 8"),
        (([], [0.5], [8.0]), "to must be a whole number of at least 1, got 8.0"),
        (([], [0.7, 0.5], [2, 4]), "at must be in increasing order and without repetition"),
        (([], [0.5, 0.7], [4, 2]), "to must be in increasing order and without repetition"),
    ],
)
def test_a_plan_that_cannot_be_is_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Growth(*arguments, 10)
