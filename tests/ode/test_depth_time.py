"""Any network that contains ODE blocks has depth-time."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from contnet import ContinuousNet, ODEBlock, ResNet, project
from contnet.ode.depth_time import Depth, DepthTime, depth_time
from tests.problems import Linear


class Uneven(nn.Module):
    """Two ODE blocks that agree in nothing but their scheme, one of them in a container."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ODEBlock(Linear, n_basis=2, n_time_steps=4, scheme="midpoint")
        self.rest = nn.Sequential(ODEBlock(Linear, n_basis=3, n_time_steps=3, scheme="midpoint"))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.rest(self.first(x))
        return result


def depth_of(network: nn.Module) -> DepthTime:
    depth = depth_time(network)
    assert depth is not None
    return depth


def test_a_network_without_ode_blocks_has_no_depth_time() -> None:
    assert depth_time(ResNet(depth=8, alpha=2)) is None


def test_blocks_are_found_at_any_place_in_the_order_of_the_network() -> None:
    network = Uneven()
    assert depth_of(network).blocks == (network.first, network.rest[0])


def test_a_property_in_which_blocks_differ_is_none() -> None:
    depth = depth_of(Uneven())
    assert depth.scheme is not None
    assert depth.scheme.name == "midpoint"
    assert (depth.n_basis, depth.n_time_steps, depth.basis) == (None, None, None)


def test_rate_evaluations_are_those_of_all_blocks() -> None:
    assert depth_of(Uneven()).n_f_evals == 2 * 4 + 2 * 3


def test_each_block_is_refined_from_its_own_depth() -> None:
    network = Uneven()
    origins = depth_of(network).refine()
    assert depth_of(network).depths == (
        Depth("piecewise_constant", 4, 8, 2),
        Depth("piecewise_constant", 6, 6, 2),
    )
    assert [new for new, _ in origins] == list(network.parameters())


def test_weights_load_into_a_network_that_was_resized_to_their_depth() -> None:
    source, target = Uneven(), Uneven()
    depth_of(source).refine()
    depth_of(target).resize(depth_of(source).depths)
    target.load_state_dict(source.state_dict())
    x = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(target(x), source(x))
    assert depth_of(target).refined_by == 2


def test_depths_of_another_number_of_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="depths must be 2, one for each ODE block, got 1"):
        depth_of(Uneven()).resize((Depth("piecewise_constant", 2, 2),))


def test_projection_leaves_the_network_that_it_copies() -> None:
    network = Uneven()
    before = copy.deepcopy(network.state_dict())
    assert depth_of(project(network, n_basis=1)).n_basis == 1
    assert depth_of(network).depths[1].n_basis == 3
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_a_checkpoint_can_be_shallower_or_deeper_than_the_network_that_takes_it() -> None:
    deep, shallow = (
        ContinuousNet(alpha=4, initial_time_d=4, n_time_steps_per=3),
        ContinuousNet(alpha=4),
    )
    for target, source in itertools.permutations((deep, shallow)):
        weights = copy.deepcopy(source.state_dict())
        taker = copy.deepcopy(target)
        depth_time(taker).resize(depth_time(source).depths)
        taker.load_state_dict(weights)
        assert (depth_time(taker).n_basis, depth_time(taker).n_time_steps) == (
            depth_time(source).n_basis,
            depth_time(source).n_time_steps,
        )
