"""ODE blocks around the rate of a transformer."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from contnet import ODEBlock, project
from contnet.ode.bases import BASES
from contnet.training.optimizer import carry_state


class Encoder(nn.Module):
    """The rate of a transformer: attention, then an MLP, with layer norms before each."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, num_heads=2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        y = self.attention(y, y, y, need_weights=False)[0]
        return y + self.mlp(self.norm2(x + y))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.long] * (name not in ("piecewise_constant", "legendre"))
        )
        for name in BASES
    ],
)
def test_a_transformer_learns_to_sort_refines_and_is_projected(name: str) -> None:
    """Sequences of five digits, to be put in order."""
    torch.manual_seed(0)
    block = ODEBlock(Encoder, n_basis=2, n_time_steps=2, basis=name, epsilon=2.0)
    network = nn.Sequential(nn.Embedding(10, 16), block, nn.Linear(16, 10))
    place = nn.Parameter(torch.randn(5, 16))
    parameters = [*network.parameters(), place]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)

    def loss(n: int = 64) -> Tensor:
        digits = torch.randint(10, (n, 5))
        logits = network[2](block(network[0](digits) + place))
        return nn.functional.cross_entropy(logits.flatten(0, 1), digits.sort().values.flatten())

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    train(150)
    with torch.no_grad():
        untrained, learned = np.log(10), loss(512).item()
    assert learned < 0.75 * untrained
    x = torch.randn(3, 5, 16)
    before, n_time_steps = block(x), block.n_time_steps
    origins = block.refine()
    carry_state(optimizer, nn.ModuleList([network, nn.ParameterList([place])]), origins, carry=True)
    block.set_manifestation(n_time_steps=n_time_steps)
    torch.testing.assert_close(block(x), before, rtol=1e-4, atol=1e-5)
    train(100)
    with torch.no_grad():
        assert loss(512).item() < learned
        projected = project(block, 2 if name != "legendre" else 3)
        assert projected(x).isfinite().all()
