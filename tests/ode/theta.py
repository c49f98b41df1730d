"""Blocks whose theta(t) is one number, and what their bases span."""

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from contnet import ODEBlock
from contnet.ode.basis import Basis

BASES_AND_SIZES = [
    *[("piecewise_constant", n) for n in (1, 3, 4, 8)],
    *[("piecewise_linear", n) for n in (2, 4, 6, 8)],
    *[("continuous_linear", n) for n in (1, 2, 3, 5, 9)],
    *[("legendre", n) for n in (1, 2, 3, 8)],
]


SMOOTH = ("piecewise_linear", "continuous_linear", "legendre")


class Value(nn.Module):
    """A node that is one number of theta."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.randn((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.theta.expand_as(x)


def theta(block: ODEBlock, t: Fraction, *, from_left: bool = False) -> float:
    """theta(t) of a block of `Value`s, as the block itself evaluates it."""
    weights = block.basis.weights(t, block.basis.locate(t, from_left=from_left))
    return block.basis.rate(block.nodes, weights)(torch.zeros((), dtype=torch.float64)).item()


def some_times(n: int) -> list[tuple[Fraction, bool]]:
    """Times, knots of any basis of up to `n` elements among them, from either side."""
    times = {Fraction(i, d) for d in (*range(1, n + 1), 100) for i in range(d + 1)}
    return [
        (t, side)
        for t in sorted(times)
        for side in (False, True)
        if (t, side) not in ((0, True), (1, False))
    ]


def quadrature(n_pieces: int) -> tuple[list[Fraction], np.ndarray]:
    """Return Gauss's points and weights on equal pieces of [0, 1], exact for what is tested."""
    points, weights = np.polynomial.legendre.leggauss(10)
    places = [
        (Fraction(i) + Fraction((p + 1) / 2)) / n_pieces for i in range(n_pieces) for p in points
    ]
    return places, np.tile(weights / 2 / n_pieces, n_pieces)


def values(basis: Basis, times: list[Fraction]) -> np.ndarray:
    """phi_k(t) by row and column."""
    found = np.zeros((basis.n_basis, len(times)))
    for i, t in enumerate(times):
        for k, weight in basis.weights(t, basis.locate(t, from_left=False)):
            found[k, i] = weight
    return found
