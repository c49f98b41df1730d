"""Modules that several nodes make up together."""

import copy
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from contnet import ContinuousNet, ODEBlock
from contnet.networks.units import ResidualUnit
from contnet.ode.bases import BASES
from contnet.ode.combination import Combination
from tests.ode.theta import SMOOTH


class MaskedAttention(nn.Module):
    """Attention with the masks that such modules hold as buffers."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, attn_mask=self.mask, need_weights=False)[0]


@pytest.mark.parametrize("mask", ["bool", "-inf"])
@pytest.mark.parametrize("basis", BASES)
def test_a_mask_is_the_same_at_every_depth(basis: str, mask: str) -> None:
    causal = nn.Transformer.generate_square_subsequent_mask(3)
    causal = causal == float("-inf") if mask == "bool" else causal
    block = ODEBlock(lambda: MaskedAttention(causal), n_basis=4, n_time_steps=4, basis=basis)
    x = torch.randn(2, 3, 4)
    block.train()(x).sum().backward()
    block.refine()
    block.project(2, "legendre")
    assert all(torch.equal(node.mask, causal) for node in block.nodes)
    before = block(x)
    x[:, 2] += 1  # the last of three: the others must not see it
    after = block(x)
    assert before.isfinite().all()
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert not torch.allclose(after[:, 2], before[:, 2])


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain.expand_as(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("basis", BASES)
def test_the_state_keeps_its_type_whatever_the_shape_of_a_parameter(
    basis: str, dtype: torch.dtype
) -> None:
    block = ODEBlock(Gain, n_basis=2, n_time_steps=3, basis=basis).to(dtype)
    assert block(torch.zeros(2, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("variances", [(1e-4, 100.0), (1.0, 1.0), (0.0, 4.0), (0.0, 0.0)], ids=str)
def test_the_sum_learns_the_variance_that_it_meets_and_no_node_has_a_negative_part(
    variances: tuple[float, float],
) -> None:
    norms = [nn.BatchNorm1d(1) for _ in variances]
    for norm, variance in zip(norms, variances, strict=True):
        norm.running_var.fill_(variance)
    combination = Combination([0.5, 0.5], nodal=True)
    x = torch.randn(50, 1)
    expected = (sum(v**0.5 for v in variances) / 2) ** 2
    for _ in range(5):
        expected = 0.9 * expected + 0.1 * x.var().item()
        before = [norm.running_var.item() for norm in norms]
        combination(norms, x)
        deviations = [norm.running_var.sqrt() for norm in norms]
        torch.testing.assert_close(
            (sum(deviations) / 2).square().item(), expected, rtol=1e-3, atol=0
        )
        # None swings from one side to the other, which would show as a small one that grows while
        # the sum shrinks.
        grows = expected > (sum(v**0.5 for v in before) / 2) ** 2
        after = [norm.running_var.item() for norm in norms]
        assert all(
            then == now == 0 or (now >= then) == grows
            for then, now in zip(before, after, strict=True)
        )


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("piecewise_linear", 4),
        ("continuous_linear", 2),
        pytest.param("legendre", 4, marks=pytest.mark.long),
    ],
)
def test_statistics_along_depth_become_those_of_the_batches(name: str, n: int) -> None:
    """Train on one batch with fixed weights: the statistics at each stage become that batch's."""
    nodes = [ResidualUnit(3, 3) for _ in range(n)]
    with torch.no_grad():  # nodes that have something in common, as refined ones have
        for node in nodes:
            for parameter, first in zip(node.parameters(), nodes[0].parameters(), strict=True):
                parameter.lerp_(first, 0.8)
            node.bn1.momentum = node.bn2.momentum = 0.3
    block = ODEBlock(iter(nodes).__next__, n_basis=n, n_time_steps=n, basis=name)
    x = torch.randn(16, 3, 5, 5)
    trained = block.train()(x)
    for _ in range(200):
        block(x)
    x_unbiased = block.eval()(x)
    # Running variances are unbiased (n - 1), batch variances are not (n): a relative difference of
    # 1/800.
    torch.testing.assert_close(x_unbiased, trained, rtol=2e-2, atol=2e-2)


def test_each_pass_counts_once_in_every_node_that_it_met() -> None:
    block = ODEBlock(
        lambda: ResidualUnit(2, 2), n_basis=2, n_time_steps=2, basis="continuous_linear"
    ).train()
    block(torch.randn(4, 2, 3, 3))
    # Euler's method looks up t = 0, node 0 alone, and t = 1/2, both.
    assert [node.bn1.num_batches_tracked.item() for node in block.nodes] == [2, 1]


def test_piecewise_constants_compute_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Combination, "forward")
    ContinuousNet(alpha=2, initial_time_d=4, scheme="rk4")(torch.randn(2, 3, 8, 8)).sum().backward()


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_combined_once_is_what_is_looked_up(name: str) -> None:
    """Compare with a copy of a node that holds theta(t), at each step of Euler's method."""
    block = (
        ODEBlock(lambda: ResidualUnit(3, 3), n_basis=4, n_time_steps=3, basis=name).double().eval()
    )
    state = x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    by_hand = copy.deepcopy(block.nodes[0])
    for n in range(3):
        t = Fraction(n, 3)
        weights = block.basis.weights(t, block.basis.locate(t, from_left=False))
        with torch.no_grad():
            for parameter_name, parameter in by_hand.named_parameters():
                parts = [
                    weight * dict(block.nodes[k].named_parameters())[parameter_name]
                    for k, weight in weights
                ]
                parameter.copy_(torch.stack(parts).sum(0))
            for norm_name in ("bn1", "bn2"):
                norms = [(getattr(block.nodes[k], norm_name), weight) for k, weight in weights]
                if block.basis.nodal:
                    deviation = sum(weight * norm.running_var.sqrt() for norm, weight in norms)
                else:
                    deviation = sum(
                        weight * (norm.running_var - 1 / norm.running_var) for norm, weight in norms
                    )
                getattr(by_hand, norm_name).running_var.copy_(deviation.square())
        state = state + by_hand(state) / 3
    torch.testing.assert_close(block(x), state, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("basis", BASES)
def test_a_manifestation_that_is_chosen_in_inference_mode_can_be_trained(basis: str) -> None:
    block = ODEBlock(lambda: nn.Linear(4, 4), n_basis=2, basis=basis)
    with torch.inference_mode():
        block.set_manifestation(n_time_steps=5)
        block(torch.randn(2, 4))
    block(torch.randn(2, 4)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())
