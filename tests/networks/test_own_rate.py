import copy

import pytest
import torch
from torch import Tensor, nn

from contnet import ContinuousNet, WideContinuousNet, project
from contnet.ode.bases import BASES
from contnet.ode.block import ODEBlock


class Scaled(nn.Module):
    """A rate whose weights start at known values, and that counts its calls in a buffer."""

    def __init__(self, channels: int, start: float = 0.25) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), start))
        self.conv = nn.Conv2d(channels, channels, 1)
        nn.init.constant_(self.conv.weight, start)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.tanh(self.conv(x))


def blocks(network: ContinuousNet) -> list[ODEBlock]:
    return [block for block in network.blocks if isinstance(block, ODEBlock)]


def test_every_node_is_an_own_rate_of_the_segments_channels_with_its_own_weights() -> None:
    network = ContinuousNet(1, 10, alpha=4, initial_time_d=2, rate=Scaled)
    for block, channels in zip(blocks(network), (4, 8, 16), strict=True):
        assert len({id(node) for node in block.nodes}) == 2
        for node in block.nodes:
            assert isinstance(node, Scaled)
            assert torch.equal(node.scale, torch.full((channels, 1, 1), 0.25))
            assert torch.equal(node.conv.weight, torch.full((channels, channels, 1, 1), 0.25))


def test_stem_stitches_and_head_are_those_of_a_network_without_an_own_rate() -> None:
    own, ours = (
        ContinuousNet(3, 10, alpha=4, activation_before_conv=True, rate=rate)
        for rate in (Scaled, None)
    )

    def others(network: nn.Module) -> dict[str, torch.Size]:
        return {
            name: value.shape
            for name, value in network.state_dict().items()
            if not name.startswith("blocks.")
        }

    assert others(own) == others(ours)


def test_a_block_computes_eulers_method_with_the_own_rate() -> None:
    network = ContinuousNet(1, 10, alpha=4, initial_time_d=2, time_epsilon=0.5, rate=Scaled)
    block, x = network.blocks[0], torch.randn(2, 4, 8, 8)
    expected = x
    for node in blocks(network)[0].nodes:
        expected = expected + 0.25 * node(expected)
    assert torch.allclose(block(x), expected, atol=1e-6)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_it_has_gradients_and_is_refined_in_every_basis(basis: str, gradient: str) -> None:
    network = ContinuousNet(
        1, 3, alpha=2, initial_time_d=2, basis=basis, gradient=gradient, rate=Scaled
    ).eval()
    x = torch.randn(2, 1, 8, 8)
    network(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.set_manifestation("rk4_classic", 32)
    before = network(x)
    network.refine()
    assert torch.allclose(network(x), before, atol=1e-4)


def test_the_continuous_adjoint_differentiates_an_own_rate() -> None:
    direct = ContinuousNet(1, 3, alpha=2, n_time_steps_per=8, scheme="rk4", rate=Scaled).double()
    adjoint = copy.deepcopy(direct)
    for block in blocks(adjoint):
        block.gradient = "adjoint"
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    for network in (direct, adjoint):
        network(x).square().sum().backward()
    for ours, theirs in zip(direct.parameters(), adjoint.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)  # type: ignore[arg-type]


@torch.no_grad()
@pytest.mark.parametrize(
    "n_time_steps_per", [1, pytest.param(12, marks=pytest.mark.long)]
)  # compiled as a whole, and by steps
def test_a_compiled_network_computes_the_same(n_time_steps_per: int) -> None:
    network = ContinuousNet(1, 3, alpha=2, n_time_steps_per=n_time_steps_per, rate=Scaled)
    x = torch.randn(2, 1, 8, 8)
    expected = network(x)
    network.compile(backend="aot_eager")
    assert torch.allclose(network(x), expected, atol=1e-6)


def test_it_is_projected_and_wide_networks_take_it() -> None:
    network = WideContinuousNet(1, 3, alpha=2, widen_factor=2, initial_time_d=4, rate=Scaled)
    assert blocks(network)[0].nodes[0].scale.shape == (4, 1, 1)
    projected = project(network, n_basis=2)
    assert [len(block.nodes) for block in blocks(projected)] == [2, 2, 2]


def test_skipinit_and_what_cannot_be_called_are_refused() -> None:
    with pytest.raises(ValueError, match=r"use_skipinit must be false with model\.rate"):
        ContinuousNet(rate=Scaled, use_skipinit=True)
    with pytest.raises(
        ValueError, match=r"rate must be null or the name of a class .* got 'rates\.Scaled'"
    ):
        ContinuousNet(rate="rates.Scaled")  # type: ignore[arg-type]
