import copy
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from contnet import SCHEMES, ContinuousNet, ODEBlock, Scheme
from contnet.invariance.convergence import asymptotic_slope, block_convergence, network_convergence
from contnet.invariance.manifestation import applied
from contnet.ode import statistics
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import find_scheme
from tests.problems import Linear


@pytest.mark.parametrize("n_basis", [1, 2])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_the_convergence_of_a_linear_ode_has_the_order_of_the_scheme(
    scheme: Scheme, n_basis: int
) -> None:
    block = ODEBlock(Linear, n_basis=n_basis)
    x = torch.randn(8, 4, dtype=torch.float64)
    (found,) = block_convergence(block, x, [scheme])
    assert found.slope == pytest.approx(scheme.order, abs=0.1)
    exact = x
    for node in block.nodes:
        exact = node.flow(exact, 1 / n_basis)
    for n, error in zip(found.n_time_steps, found.errors, strict=True):
        block.set_manifestation(scheme, n)
        with torch.no_grad():
            distance = torch.linalg.vector_norm(block(x) - exact) / torch.linalg.vector_norm(exact)
        assert error == pytest.approx(distance.item(), rel=1e-2)


def test_the_convergence_of_a_wrong_tableau_is_found_to_be_wrong() -> None:
    wrong = replace(SCHEMES["rk4_classic"])
    b = (
        Fraction(1, 6),
        Fraction(1, 3) + Fraction(1, 100),
        Fraction(1, 3),
        Fraction(1, 6) - Fraction(1, 100),
    )
    object.__setattr__(wrong, "b", b)  # past its own check
    (found,) = block_convergence(ODEBlock(Linear), torch.randn(8, 4), [wrong])
    assert found.slope is not None
    assert found.slope < 1.5


def test_the_asymptotic_range_is_the_finest_steps_on_one_line_above_rounding() -> None:
    n = [1, 2, 4, 8, 16]
    assert asymptotic_slope(n, [2.0**-i for i in range(5)]) == (pytest.approx(1), 1)
    assert asymptotic_slope(n, [9, 8, 1, 1 / 4, 1 / 16]) == (pytest.approx(2), 4)
    assert asymptotic_slope(n, [1, 1 / 16, 1 / 256, 1e-13, 1e-14]) == (pytest.approx(4), 1)
    assert asymptotic_slope(n, [1, 0.5, 0.1, 0.09, 0.001]) == (None, None)
    assert asymptotic_slope(n, [1, 0.5, float("nan"), float("inf"), 0]) == (None, None)


def test_the_convergence_of_a_network_is_that_of_each_block_on_its_incoming_states() -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2).eval()
    images = torch.randn(4, 3, 8, 8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = network_convergence(network, images, [SCHEMES["euler"], find_scheme("dopri5")])
    assert [(c.block, c.scheme, c.n_time_steps) for c in found] == [
        (block, "euler", [2, 4, 8, 16, 32, 64]) for block in (1, 2, 3)
    ]
    assert [c.slope for c in found] == pytest.approx([1, 1, 1], abs=0.1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        state = network.stitches[1](network.blocks[0](network.stitches[0](network.stem(images))))
    (second,) = block_convergence(network.blocks[1], state, [SCHEMES["euler"]])
    assert second.errors == pytest.approx(found[1].errors, rel=1e-3)


def test_statistics_of_each_manifestation_do_not_make_an_equation_of_each() -> None:
    network = nn.Sequential(ODEBlock(lambda: nn.BatchNorm2d(2), n_basis=1))
    seen = [Manifestation(SCHEMES["euler"], n) for n in (1, 8, 64)]
    statistics.provide(network, seen)
    images = torch.randn(4, 2, 3, 3)
    for scale, manifestation in enumerate(seen, start=1):
        with applied(network, manifestation):
            network(scale * images)
    alone = copy.deepcopy(network)
    statistics.provide(alone, [])
    (expected,) = network_convergence(alone, images, [SCHEMES["euler"]])
    assert network_convergence(network, images, [SCHEMES["euler"]]) == [expected]
    assert expected.slope == pytest.approx(1, abs=0.1)
