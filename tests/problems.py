"""Dynamics with known solutions, and the measure of an order of convergence."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """R(x) = A x with a random A."""

    def __init__(self, dim: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, dim, dtype=torch.float64) / math.sqrt(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def flow(self, x: Tensor, duration: float) -> Tensor:
        """Return the exact solution of dx/dt = A x after `duration`."""
        return x @ torch.linalg.matrix_exp(duration * self.weight).T


class Smooth(nn.Module):
    """R(x) = tanh(A x), nowhere kinked."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = Linear()

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x))


class Exponential:
    """dx/dt = exp(t) x on [0, 1], with x(1) = x(0) exp(e - 1)."""

    @staticmethod
    def rate(t: float, x: Tensor) -> Tensor:
        return math.exp(t) * x

    @staticmethod
    def solution(x: Tensor) -> Tensor:
        return x * math.exp(math.e - 1)


def slope(error: Callable[[int], float], n_time_steps: Sequence[int]) -> float:
    """Minus the fitted slope of log2(error(n)) against log2(n): the order of convergence."""
    errors = [error(n) for n in n_time_steps]
    return -float(np.polyfit(np.log2(n_time_steps), np.log2(errors), deg=1)[0])
