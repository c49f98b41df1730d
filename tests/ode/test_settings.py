"""Settings of a block: checked wherever they change, and never ignored."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from contnet import ADAPTIVE_SCHEMES, SCHEMES, ContinuousNet, ODEBlock
from contnet.ode.bases import BASES
from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import AdaptiveScheme
from tests.problems import Linear

REFUSED = [
    ({"n_time_steps": 3}, "n_time_steps must be a multiple of n_basis for gradient=adjoint, got 3"),
    ({"n_time_steps": 1}, "n_time_steps must be a multiple of n_basis for gradient=adjoint, got 1"),
    ({"n_time_steps": 0}, "n_time_steps must be a whole number of at least 1, got 0"),
    ({"scheme": "rk4_classic"}, "gradient must be backprop or checkpoint for rk4_classic"),
    ({"scheme": replace(SCHEMES["rk4_classic"], name="rk4")}, "checkpoint for rk4"),
    ({"scheme": "eulr"}, "scheme must be one of euler, "),
    ({"rtol": 0.1}, "rtol must be left out with the scheme euler, .*got 0.1"),
    ({"atol": 0.1}, "atol must be left out with the scheme euler, .*got 0.1"),
    ({"scheme": "dopri5", "rtol": -1}, "rtol must be a number greater than 0, got -1"),
    ({"scheme": ADAPTIVE_SCHEMES["dopri5"], "rtol": -1}, "rtol must be a number greater than 0"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=str)
def test_what_the_constructor_refuses_is_refused_later_and_changes_nothing(
    settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ODEBlock(Linear, n_basis=2, gradient="adjoint", **settings)
    block = ODEBlock(Linear, n_basis=2, gradient="adjoint")
    network = nn.Sequential(ODEBlock(Linear, n_basis=1, gradient="adjoint"), block)
    for change in (block, depth_time(network)):
        with pytest.raises(ValueError, match=message):
            change.set_manifestation(**settings)
        for one in network:
            assert (one.scheme, one.n_time_steps, one.n_f_evals) == (
                SCHEMES["euler"],
                one.n_basis,
                one.n_basis,
            )


@pytest.mark.parametrize("basis", [basis for basis in BASES if basis != "piecewise_constant"])
def test_a_gradient_that_does_not_suit_is_refused_when_it_is_set(basis: str) -> None:
    block = ODEBlock(Linear, n_basis=2, basis=basis)
    with pytest.raises(ValueError, match="gradient must be backprop or checkpoint with the basis"):
        block.gradient = "adjoint"
    with pytest.raises(ValueError, match="gradient must be one of backprop"):
        block.gradient = "guess"
    assert block.gradient == "backprop"
    block = ODEBlock(Linear, n_basis=2, n_time_steps=3)
    with pytest.raises(ValueError, match="n_time_steps must be a multiple of n_basis"):
        block.gradient = "adjoint"


@pytest.mark.parametrize("setting", ["scheme", "n_time_steps", "epsilon", "basis", "n_basis"])
def test_a_setting_that_would_change_nothing_cannot_be_assigned(setting: str) -> None:
    block = ODEBlock(Linear, n_basis=2)
    with pytest.raises(AttributeError, match=setting):
        setattr(block, setting, 3)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint"])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=str)
def test_the_steps_in_training_are_those_without_gradients(scheme: object, gradient: str) -> None:
    block = ODEBlock(Linear, n_basis=2, epsilon=2.0)
    block.set_manifestation(scheme, 4)
    if gradient == "adjoint" and scheme.name in ("ralston2", "rk4_classic"):
        return
    block.gradient = gradient
    x = torch.randn(3, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = block(x)
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


def test_a_scheme_is_what_its_tableau_is_under_any_name() -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    block = ODEBlock(Linear, scheme=replace(SCHEMES["rk4"], name="mine"), gradient="adjoint")
    with torch.no_grad():
        expected = block(x)
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", [0, 6, 7, 2.0, True])
def test_an_order_that_is_not_proven_is_refused(order: object) -> None:
    with pytest.raises(ValueError, match=f"order must be a whole number from 1 to 5, got {order}"):
        replace(SCHEMES["rk4"], order=order)


def test_an_adaptive_scheme_is_one_of_those_that_there_are() -> None:
    for method in ("dopri5", SCHEMES["euler"]):
        with pytest.raises(
            ValueError, match="method must be an embedded pair or a solver of torch"
        ):
            AdaptiveScheme(method)


@pytest.mark.parametrize("given", ["alone", "with its name", "with the scheme"])
def test_tolerances_are_taken_however_the_scheme_is_given(given: str) -> None:
    scheme = {"alone": None, "with its name": "dopri5"}.get(given, ADAPTIVE_SCHEMES["dopri5"])
    network = ContinuousNet(alpha=2, scheme="dopri5", atol=1e-2)
    network.set_manifestation(scheme, rtol=1e-7)
    kept = 1e-2 if given == "alone" else ADAPTIVE_SCHEMES["dopri5"].atol
    assert [(block.scheme.rtol, block.scheme.atol) for block in network.blocks] == [
        (1e-7, kept)
    ] * 3
    made = ODEBlock(Linear, scheme=ADAPTIVE_SCHEMES["dopri5"], rtol=1e-7)
    assert made.scheme.rtol == 1e-7


def test_a_manifestation_that_one_block_refuses_changes_none() -> None:
    network = nn.Sequential(*(ODEBlock(Linear, k, gradient="adjoint") for k in (1, 2)))
    with pytest.raises(ValueError, match="n_time_steps must be a multiple of n_basis"):
        depth_time(network).set_manifestation(n_time_steps=3)
    assert [block.n_time_steps for block in network] == [1, 2]


def test_fractions_of_a_tableau_that_rounds_are_another_scheme() -> None:
    third = replace(
        SCHEMES["midpoint"],
        name="heun2",
        a=((), (Fraction(1, 4),)),
        b=(-1, 2),
        c=(0, Fraction(1, 4)),
    )
    with pytest.raises(ValueError, match="gradient must be backprop or checkpoint for heun2"):
        ODEBlock(Linear, scheme=third, gradient="adjoint")
