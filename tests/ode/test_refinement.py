"""Refinement of ODE blocks: the function is kept."""

import copy

import pytest
import torch

from contnet import SCHEMES, ContinuousNet, ODEBlock, Scheme
from contnet.ode.depth_time import depth_time
from tests.ode.theta import BASES_AND_SIZES, Value, some_times, theta
from tests.problems import Smooth, slope


@pytest.mark.parametrize(("name", "n"), BASES_AND_SIZES)
def test_refinement_keeps_theta_at_all_times_and_projecting_back_returns_the_nodes(
    name: str, n: int
) -> None:
    block = ODEBlock(Value, n_basis=n, basis=name)
    before = copy.deepcopy(block)
    block.refine()
    assert (block.n_basis, block.n_time_steps) == (before.basis.n_refined, 2 * before.n_time_steps)
    for t, from_left in some_times(2 * n):
        assert theta(block, t, from_left=from_left) == pytest.approx(
            theta(before, t, from_left=from_left), abs=1e-12
        )
    block.project(n)
    for node, original in zip(block.nodes, before.nodes, strict=True):
        assert node.theta.item() == pytest.approx(original.theta.item(), abs=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"activation_before_conv": True}, {"use_skipinit": True}], ids=str
)
def test_refining_at_the_same_number_of_steps_changes_no_bit_of_the_logits(options: dict) -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2, n_time_steps_per=2, **options)
    x = torch.randn(8, 3, 16, 16)
    network(x)  # running statistics that are not the initial ones
    network.eval()
    before = network(x)
    network.refine()
    assert (depth_time(network).n_basis, depth_time(network).n_time_steps) == (4, 8)
    network.set_manifestation(n_time_steps=4)
    assert torch.equal(network(x), before)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_with_twice_the_steps_the_change_falls_at_the_schemes_order(scheme: Scheme) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    block = ODEBlock(Smooth, n_basis=2, scheme=scheme, epsilon=2.0)
    refined = copy.deepcopy(block)
    refined.refine()

    def change(n: int) -> float:
        block.set_manifestation(n_time_steps=n)
        refined.set_manifestation(n_time_steps=2 * n)
        return (refined(x) - block(x)).norm().item()

    assert slope(change, [32, 64, 128, 256]) == pytest.approx(scheme.order, abs=0.2)


def test_children_have_their_parents_weights_statistics_and_scalars() -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2, use_skipinit=True)
    network(torch.randn(4, 3, 8, 8))
    parents = [
        [copy.deepcopy(node.state_dict()) for node in block.nodes] for block in network.blocks
    ]
    others = copy.deepcopy([network.stem, network.stitches, network.head])
    network.refine()
    for block, old in zip(network.blocks, parents, strict=True):
        for k, node in enumerate(block.nodes):
            for name, value in node.state_dict().items():
                assert torch.equal(value, old[k // 2][name]), name
    for module, old in zip([network.stem, network.stitches, network.head], others, strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(module.parameters(), old.parameters(), strict=True)
        )
    storages = [parameter.data_ptr() for parameter in network.parameters()]
    assert len(set(storages)) == len(storages)
