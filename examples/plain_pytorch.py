"""ODE blocks in a plain PyTorch training loop, without Lightning and Hydra.

A small convolutional network learns scikit-learn's digits. In the middle of training its depth is
doubled. After training, the same weights are evaluated by other schemes and in other numbers of
steps.

    python plain_pytorch.py
"""

import argparse
import copy

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from contnet import ODEBlock


class Residual(nn.Sequential):
    """The residual part R(x) of a unit x + R(x), which keeps the shape (N, channels, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )


def make_network() -> nn.Sequential:
    """Return a network for images (N, 1, 8, 8), with two ODE blocks of two units each."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        ODEBlock(lambda: Residual(8), n_basis=2, scheme="rk4_classic"),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        ODEBlock(lambda: Residual(16), n_basis=2, scheme="rk4_classic"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def ode_blocks(network: nn.Module) -> list[ODEBlock]:
    """Return the ODE blocks of a network."""
    return [module for module in network.modules() if isinstance(module, ODEBlock)]


def refine(network: nn.Module, optimizer: Optimizer) -> None:
    """Double the depth of every ODE block; the optimizer trains the new parameters on.

    `ODEBlock.refine` returns where each new parameter comes from, as (new, [(old, weight), ...]).
    With weights that are piecewise constant in depth, it is a copy of one old parameter.
    """
    for block in ode_blocks(network):
        for new, origin in block.refine():
            old, _ = origin[0]
            if old in optimizer.state:  # the momentum is copied, too
                optimizer.state[new] = copy.deepcopy(optimizer.state[old])
    optimizer.param_groups[0]["params"] = list(network.parameters())


def train_epoch(network: nn.Module, optimizer: Optimizer, batches: DataLoader) -> float:
    """Train for an epoch, and return the mean loss."""
    network.train()
    losses = []
    for images, labels in batches:
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that are classified correctly."""
    network.eval()
    return (network(images).argmax(dim=1) == labels).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # images this small are not worth sharing among threads

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    train, test = order[360:], order[:360]
    batches = DataLoader(TensorDataset(images[train], labels[train]), 64, shuffle=True)

    network = make_network()
    optimizer = SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = CosineAnnealingLR(optimizer, arguments.epochs)
    for epoch in range(arguments.epochs):
        if epoch == arguments.epochs // 2:
            before = accuracy(network, images[test], labels[test])
            refine(network, optimizer)
            after = accuracy(network, images[test], labels[test])
            print(f"refined to 4 nodes a block: test accuracy {before:.4f} -> {after:.4f}")
        loss = train_epoch(network, optimizer, batches)
        schedule.step()
        found = accuracy(network, images[test], labels[test])
        print(f"epoch {epoch + 1:2}  loss {loss:.4f}  test accuracy {found:.4f}")

    print("\nscheme        steps  evaluations  test accuracy")
    for scheme in ("euler", "midpoint", "rk4_classic"):
        for n_time_steps in (2, 4, 8):
            for block in ode_blocks(network):
                block.set_manifestation(scheme, n_time_steps)
            found = accuracy(network, images[test], labels[test])
            n_f_evals = sum(block.n_f_evals for block in ode_blocks(network))
            print(f"{scheme:12}  {n_time_steps:5}  {n_f_evals:11}  {found:13.4f}")


if __name__ == "__main__":
    main()
