"""A transformer block as the rate of an ODE block: a small vision transformer on digits.

Any module can be a rate if it keeps two rules.

1. It maps a state to a tensor of the same shape: here tokens (N, 16, 32).
2. It returns the residual part alone. The ODE block adds it to the state, once for each step.

`nn.TransformerEncoderLayer` breaks the second rule, as its skip connections are inside. So the
rate below is made of the same parts: it is what a pre-norm encoder layer adds to its input.

    python transformer.py
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from contnet import ODEBlock


class EncoderRate(nn.Module):
    """What a pre-norm encoder layer adds to its input: (N, tokens, dim) -> the same shape."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        attended, _ = self.attention(y, y, y, need_weights=False)
        # The layer would return x + attended + mlp.
        return attended + self.mlp(self.norm2(x + attended))


class VisionTransformer(nn.Module):
    """Images (N, 1, 8, 8), cut into 16 patches of 2 x 2 pixels -> logits (N, 10)."""

    def __init__(self, dim: int = 32, num_heads: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(1, dim, kernel_size=2, stride=2)
        self.positions = nn.Parameter(0.02 * torch.randn(16, dim))
        # Two layers. The midpoint rule evaluates each of them twice.
        self.encoder = ODEBlock(lambda: EncoderRate(dim, num_heads), n_basis=2, scheme="midpoint")
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 10))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embedding(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.encoder(tokens).mean(dim=1))


@torch.no_grad()
def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean loss and the share of images that are classified correctly."""
    network.eval()
    logits = network(images)
    correct = (logits.argmax(dim=1) == labels).float().mean()
    return F.cross_entropy(logits, labels).item(), correct.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # images this small are not worth sharing among threads

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    train, test = order[360:], order[:360]
    batches = DataLoader(TensorDataset(images[train], labels[train]), 64, shuffle=True)

    network = VisionTransformer()
    optimizer = AdamW(network.parameters(), weight_decay=0.01)
    n_steps = arguments.epochs * len(batches)
    schedule = OneCycleLR(optimizer, max_lr=5e-3, total_steps=n_steps, pct_start=0.2)
    for epoch in range(arguments.epochs):
        network.train()
        for batch, targets in batches:
            loss = F.cross_entropy(network(batch), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        test_loss, accuracy = evaluate(network, images[test], labels[test])
        print(f"epoch {epoch + 1:2}  test loss {test_loss:.4f}  test accuracy {accuracy:.4f}")

    print("\nscheme        steps  evaluations  test loss  test accuracy")
    for scheme in ("euler", "midpoint", "rk4_classic"):
        for n_time_steps in (2, 4, 8):
            network.encoder.set_manifestation(scheme, n_time_steps)
            test_loss, accuracy = evaluate(network, images[test], labels[test])
            n_f_evals = network.encoder.n_f_evals
            print(
                f"{scheme:12}  {n_time_steps:5}  {n_f_evals:11}  {test_loss:9.4f}  {accuracy:13.4f}"
            )


if __name__ == "__main__":
    main()
