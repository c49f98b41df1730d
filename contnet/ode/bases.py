"""The kinds of basis. A new one is a class here and an entry in `BASES`."""

from collections.abc import Sequence
from fractions import Fraction
from math import comb

from torch import nn

from contnet import arguments
from contnet.ode.basis import Basis, Rate, Weights
from contnet.ode.combination import Combination
from contnet.ode.polynomials import Polynomial


class PiecewiseConstant(Basis):
    """theta(t) = theta_k on the k-th of K intervals (Queiruga et al. 2020, section 3)."""

    name = "piecewise_constant"
    combines = False

    @property
    def n_elements(self) -> int:
        return self.n_basis

    @property
    def n_refined(self) -> int:
        return 2 * self.n_basis

    def functions(self, element: int) -> dict[int, Polynomial]:
        return {element: (Fraction(1),)}

    def rate(
        self,
        nodes: Sequence[nn.Module],
        weights: Weights,
        combination: Combination | None = None,
        host: nn.Module | None = None,
    ) -> Rate:
        ((k, _),) = weights
        return nodes[k]


class PiecewiseLinear(Basis):
    """theta(t) is linear between two nodes on each of K / 2 intervals, and jumps between them."""

    name = "piecewise_linear"
    nodes_of_an_element = 2

    @property
    def n_elements(self) -> int:
        return self.n_basis // 2

    @property
    def n_refined(self) -> int:
        return 2 * self.n_basis

    @property
    def fineness(self) -> int:
        return self.n_elements

    def functions(self, element: int) -> dict[int, Polynomial]:
        return {
            2 * element: (Fraction(1), Fraction(-1)),
            2 * element + 1: (Fraction(0), Fraction(1)),
        }


class ContinuousLinear(Basis):
    """theta(t) joins K nodes by straight lines (the hat functions of finite elements).

    A single node is a constant.
    """

    name = "continuous_linear"

    @property
    def n_elements(self) -> int:
        return max(1, self.n_basis - 1)

    @property
    def n_refined(self) -> int:
        return max(2, 2 * self.n_basis - 1)

    @property
    def fineness(self) -> int:
        return 1 if self.n_basis == 1 else 2 * self.n_elements

    def functions(self, element: int) -> dict[int, Polynomial]:
        if self.n_basis == 1:
            return {0: (Fraction(1),)}
        return {element: (Fraction(1), Fraction(-1)), element + 1: (Fraction(0), Fraction(1))}


class Legendre(Basis):
    """theta(t) is a polynomial of degree K - 1.

    The nodes are the coefficients of Legendre's polynomials on [0, 1].
    """

    name = "legendre"
    nodal = False
    most_nodes = 32

    @property
    def n_elements(self) -> int:
        return 1

    @property
    def n_refined(self) -> int:
        return 2 * self.n_basis

    def functions(self, element: int) -> dict[int, Polynomial]:
        return {
            k: tuple(Fraction((-1) ** (k + j) * comb(k, j) * comb(k + j, j)) for j in range(k + 1))
            for k in range(self.n_basis)
        }


BASES: dict[str, type[Basis]] = {
    kind.name: kind for kind in (PiecewiseConstant, PiecewiseLinear, ContinuousLinear, Legendre)
}
"""The kinds of basis, by name."""


def make_basis(name: str, n_basis: int, argument: str = "n_basis") -> Basis:
    """Return the basis called `name` with `n_basis` functions.

    Args:
        name: a name in `BASES`.
        n_basis: the number of functions.
        argument: the name of that number in messages.

    Raises:
        ValueError: if there is no such basis, or it cannot have `n_basis` functions.
    """
    kind = BASES[arguments.one_of("basis", name, BASES)]
    arguments.integer(argument, n_basis, minimum=1)
    if n_basis % kind.nodes_of_an_element:
        raise ValueError(
            f"{argument} must be a multiple of {kind.nodes_of_an_element} with the basis {name}, "
            f"got {n_basis}"
        )
    if n_basis > kind.most_nodes:
        raise ValueError(
            f"{argument} must be at most {kind.most_nodes} with the basis {name}, got {n_basis}"
        )
    return kind(n_basis)
