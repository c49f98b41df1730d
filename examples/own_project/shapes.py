"""Drawn circles, squares and crosses of random size and place, as data sets of PyTorch."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

CLASSES = ("circle", "square", "cross")
SIZE = 16


class Shapes(Dataset[tuple[Tensor, int]]):
    """Image i shows shape i % 3, (1, 16, 16), drawn anew each time that it is read."""

    def __init__(self, n_images: int) -> None:
        self.n_images = n_images
        self.targets = [i % len(CLASSES) for i in range(n_images)]

    def __len__(self) -> int:
        return self.n_images

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        if not 0 <= i < self.n_images:
            raise IndexError(i)
        label = self.targets[i]
        return _drawn(CLASSES[label]) + 0.2 * torch.randn(1, SIZE, SIZE), label


def _drawn(shape: str) -> Tensor:
    row, column = torch.randint(5, SIZE - 5, (2,)).tolist()
    radius = int(torch.randint(2, 5, ()))
    y = (torch.arange(SIZE) - row).abs().view(1, -1, 1)
    x = (torch.arange(SIZE) - column).abs().view(1, 1, -1)
    inside = {
        "circle": x**2 + y**2 <= radius**2,
        "square": torch.maximum(x, y) < radius,
        "cross": (torch.minimum(x, y) < 1) & (torch.maximum(x, y) <= radius),
    }
    return inside[shape].float()


def shapes(n_images: int) -> dict[str, Dataset[tuple[Tensor, int]] | tuple[str, ...]]:
    """Return `n_images` to train on, a third as many for the test, and the names of the classes."""
    return {"train": Shapes(n_images), "test": Shapes(n_images // 3), "classes": CLASSES}
