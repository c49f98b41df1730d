import copy

import pytest
import torch
from torch import Tensor, nn

from contnet import ODEBlock
from contnet.networks.units import ResidualUnit
from tests.problems import Linear


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("n_basis", [1, 3, 49])
def test_euler_equals_a_plain_stack_of_residual_units_to_the_last_bit(
    training: bool, n_basis: int
) -> None:
    """49: the first K for which (1 / K) * K is not 1 in floating point."""
    block = ODEBlock(lambda: ResidualUnit(4, 4), n_basis, epsilon=float(n_basis)).train(training)
    stack = copy.deepcopy(block.nodes)
    x = torch.randn(2, 4, 6, 6)
    expected = x
    for unit in stack:
        expected = expected + unit(expected)
    assert torch.equal(block(x), expected)
    for (name, buffer), other in zip(block.nodes.named_buffers(), stack.buffers(), strict=True):
        assert torch.equal(buffer, other), name


def test_the_trajectory_holds_the_state_at_every_step() -> None:
    block = ODEBlock(Linear, n_basis=2, n_time_steps=6, scheme="midpoint")
    x = torch.randn(3, 4, dtype=torch.float64)
    trajectory = block.trajectory(x)
    assert trajectory.shape == (7, 3, 4)
    assert torch.equal(trajectory[0], x)
    assert torch.equal(trajectory[-1], block(x))
    block.set_manifestation(n_time_steps=600)
    torch.testing.assert_close(block.trajectory(x)[::100], trajectory, rtol=0, atol=0.02)


def test_a_manifestation_changes_no_weight_and_keeps_what_is_not_given() -> None:
    block = ODEBlock(Linear, n_basis=4, scheme="rk4")
    before = copy.deepcopy(block.state_dict())
    block.set_manifestation(n_time_steps=7)
    assert (block.scheme.name, block.n_time_steps, block.n_f_evals) == ("rk4", 7, 28)
    block.set_manifestation(scheme="heun3")
    assert (block.scheme.name, block.n_time_steps, block.n_f_evals) == ("heun3", 7, 21)
    assert all(torch.equal(before[name], value) for name, value in block.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_basis": 0}, "n_basis must be a whole number of at least 1, got 0"),
        ({"n_time_steps": -1}, "n_time_steps must be a whole number of at least 1, got -1"),
        ({"n_time_steps": 2.0}, "n_time_steps must be a whole number of at least 1, got 2.0"),
        ({"epsilon": 0.0}, "epsilon must be a number greater than 0, got 0.0"),
        ({"scheme": "rk5"}, "scheme must be one of euler"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ODEBlock(Linear, **arguments)


def test_any_rate_module_becomes_continuous_in_depth() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, num_heads=2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    block = ODEBlock(Attention, n_basis=2, scheme="rk4")
    x = torch.randn(2, 5, 8)
    block(x).sum().backward()
    assert all(
        parameter.grad is not None for node in block.nodes for parameter in node.parameters()
    )


def test_under_autocast_the_state_stays_in_single_precision() -> None:
    """1,000 increments of 0.001 on a state of 1 give 2; bfloat16 would not get past 1."""

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones_like(x, dtype=torch.bfloat16)

    block = ODEBlock(Constant, n_time_steps=1000)
    x = torch.ones(1, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert block(x).item() == pytest.approx(2, rel=1e-3)
    assert block(x).item() == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_time_steps": 3}, "n_time_steps must be a multiple of n_basis for gradient=adjoint"),
        ({"n_time_steps": 1}, "n_time_steps must be a multiple of n_basis for gradient=adjoint"),
        ({"scheme": "rk4_classic"}, "gradient must be backprop or checkpoint for rk4_classic"),
        ({"n_time_steps": 0}, "n_time_steps must be a whole number of at least 1, got 0"),
        ({"scheme": "eulr"}, "scheme must be one of euler, "),
    ],
)
def test_a_block_refuses_later_settings_as_its_constructor_does(
    settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ODEBlock(Linear, n_basis=2, gradient="adjoint", **settings)
    block = ODEBlock(Linear, n_basis=2, gradient="adjoint")
    with pytest.raises(ValueError, match=message):
        block.set_manifestation(**settings)
    assert (block.scheme.name, block.n_time_steps, block.n_f_evals) == ("euler", 2, 2)
