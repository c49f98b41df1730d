"""theta(t): the weights of an ODE block as a function of depth-time t in [0, 1], made from K nodes.

This is the only owner of the **knot rule**: which node a Runge-Kutta stage looks up when its time falls on the border
of two intervals. A stage at the end of its step (c = 1) takes the limit from the left, every other stage the limit from
the right, so that no step mixes the weights of the interval it covers with those of the next one; with any other rule a
scheme of order 4 becomes one of order 1. Look-ups are made in exact arithmetic and once, when a block is set up.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from torch import nn

from contnet import arguments


@dataclass(frozen=True)
class PiecewiseConstant:
    """theta(t) = theta_k on the k-th of `n_basis` equal intervals (Queiruga et al. 2020, section 3)."""

    n_basis: int

    def __post_init__(self) -> None:
        arguments.integer("n_basis", self.n_basis, minimum=1)

    @property
    def intervals(self) -> list[tuple[Fraction, Fraction]]:
        """The intervals on which theta is smooth."""
        return [(Fraction(k, self.n_basis), Fraction(k + 1, self.n_basis)) for k in range(self.n_basis)]

    def locate(self, t: Fraction, *, from_left: bool) -> int:
        """The interval that holds time t; a knot belongs to the interval that it ends where `from_left`, else to the
        one that it begins."""
        position = t * self.n_basis
        return ceil(position) - 1 if from_left else floor(position)

    def refine(self) -> "tuple[PiecewiseConstant, list[int]]":
        """The basis of twice as many intervals, and for each of its nodes the one it descends from: interval k becomes
        2k and 2k + 1, so that theta(t) is the same function."""
        refined = PiecewiseConstant(2 * self.n_basis)
        return refined, [k // 2 for k in range(refined.n_basis)]

    def rate(self, nodes: nn.ModuleList, interval: int) -> nn.Module:
        """R(. ; theta(t)) for t in the given interval: the node itself, so that its buffers come along."""
        return nodes[interval]
