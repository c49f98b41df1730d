"""theta(t) in every basis."""

import copy
from fractions import Fraction

import numpy as np
import pytest
import torch

from contnet import SCHEMES, ContinuousNet, ODEBlock, ResNet, Scheme, project
from contnet.ode.bases import BASES, ContinuousLinear, PiecewiseLinear, make_basis
from tests.ode.theta import BASES_AND_SIZES, Value, some_times, theta
from tests.problems import Linear, Smooth, slope


@pytest.mark.parametrize(("name", "n"), BASES_AND_SIZES)
def test_theta_is_what_the_definition_says(name: str, n: int) -> None:
    block = ODEBlock(Value, n_basis=n, basis=name)
    nodes = np.array([node.theta.item() for node in block.nodes])
    for t, from_left in some_times(10):
        if name == "legendre":
            expected = np.polynomial.legendre.legval(2 * float(t) - 1, nodes)
        elif name == "continuous_linear":
            expected = np.interp(float(t), np.linspace(0, 1, n), nodes) if n > 1 else nodes[0]
        else:
            in_element = n // 2 if name == "piecewise_linear" else n
            position = t * in_element
            element = (
                -(-position.numerator // position.denominator) - 1 if from_left else position // 1
            )
            s = float(position - element)
            pair = (
                nodes[2 * element : 2 * element + 2]
                if name == "piecewise_linear"
                else nodes[[element, element]]
            )
            expected = (1 - s) * pair[0] + s * pair[1]
        assert theta(block, t, from_left=from_left) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=str)
@pytest.mark.parametrize("name", BASES)
def test_the_state_converges_with_the_order_of_the_scheme(name: str, scheme: Scheme) -> None:
    block = ODEBlock(Smooth, n_basis=4, basis=name, scheme=scheme, epsilon=2.0)
    if name == "continuous_linear":
        block.project(5)  # four elements, whose knots the steps below meet
    x = torch.randn(3, 4, dtype=torch.float64)
    with torch.no_grad():
        block.set_manifestation("rk4_classic", n_time_steps=256)
        exact = block(x)
        block.set_manifestation(scheme)

        def error(n: int) -> float:
            block.set_manifestation(n_time_steps=n)
            return (block(x) - exact).norm().item()

        assert slope(error, [16, 32, 64]) == pytest.approx(scheme.order, abs=0.35)
        adaptive = copy.deepcopy(block)
        adaptive.set_manifestation("dopri5", rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(adaptive(x), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: make_basis("chebyshev", 2),
            "basis must be one of piecewise_constant, .*; got 'chebyshev'",
        ),
        (lambda: make_basis("legendre", 0), "n_basis must be a whole number of at least 1, got 0"),
        (lambda: PiecewiseLinear(3), "n_basis must be a multiple of 2, got 3"),
        (
            lambda: ContinuousNet(basis="piecewise_linear"),
            "initial_time_d must be a multiple of 2 with the basis piecewise_linear, got 1",
        ),
        (
            lambda: ODEBlock(Linear, basis="legendre", gradient="adjoint"),
            "gradient must be backprop or checkpoint with the basis legendre, got 'adjoint'",
        ),
        (
            lambda: project(ResNet(depth=8), 2),
            "network must have ODE blocks to project, got ResNet",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_functions_that_depend_on_one_another_or_miss_a_constant_are_no_basis() -> None:
    class Twice(PiecewiseLinear):
        def functions(self, element: int) -> dict[int, tuple[Fraction, ...]]:
            return {0: (Fraction(1, 2),), 1: (Fraction(1, 2),)}

    class TooMuch(ContinuousLinear):
        def functions(self, element: int) -> dict[int, tuple[Fraction, ...]]:
            return {0: (Fraction(1),), 1: (Fraction(0), Fraction(1))}

    with pytest.raises(ValueError, match="linearly dependent"):
        Twice(2)
    with pytest.raises(ValueError, match="do not add up to 1"):
        TooMuch(2)
