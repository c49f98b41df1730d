"""Modules that several nodes make up together."""

import pytest
import torch
from torch import Tensor, nn

from contnet import ODEBlock
from contnet.ode.bases import BASES
from contnet.ode.combination import Combination


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
    combination = Combination(norms, [0.5, 0.5], nodal=True).train()
    x = torch.randn(50, 1)
    expected = (sum(v**0.5 for v in variances) / 2) ** 2
    for _ in range(5):
        expected = 0.9 * expected + 0.1 * x.var().item()
        before = [norm.running_var.item() for norm in norms]
        combination(x)
        deviations = [norm.running_var.sqrt() for norm in norms]
        torch.testing.assert_close(
            (sum(deviations) / 2).square().item(), expected, rtol=1e-3, atol=0
        )
        # None swings from one side to the other, which would show as a small one that grows while the sum shrinks.
        grows = expected > (sum(v**0.5 for v in before) / 2) ** 2
        after = [norm.running_var.item() for norm in norms]
        assert all(
            then == now == 0 or (now >= then) == grows
            for then, now in zip(before, after, strict=True)
        )
