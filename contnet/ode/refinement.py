"""From the nodes of one basis to those of a finer one, with theta(t) unchanged.

A refinement multiplies the steps by a factor m. It may let epsilon *grow* by the same factor, and
divide the last affine map of the rate by it:

    epsilon R(x; W, b)  =  (m epsilon) R(x; W / m, b / m)

The function remains. But a step of Euler's method now adds the whole of the rate, as in a block
that was built with so many steps. `contnet.ode.rescaling` says how weights are divided.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Self

from torch import nn

from contnet.ode.basis import Basis, in_basis, projection
from contnet.ode.rescaling import Rescaling, before_batch_norms, scale_eps

Origin = tuple[nn.Parameter, list[tuple[nn.Parameter, float]]]
"""A new parameter, and the pairs (old parameter, weight) whose weighted sum it is."""


@dataclass(frozen=True)
class Refinement:
    """A step from a basis to a finer one.

    Args:
        old: the present basis.
        new: the finer basis.
        rescaling: what becomes of the weights of each node if epsilon grows.
    """

    old: Basis
    new: Basis
    rescaling: Rescaling | None = None

    @classmethod
    def of(cls, basis: Basis, node: nn.Module, n_basis: int | None, *, grow: bool) -> Self:
        """Return the refinement of a basis: see `ODEBlock.refine`.

        Raises:
            ValueError: if there is none to `n_basis` nodes, or a node that is to grow has no last
                affine map.
        """
        new = basis.finer(n_basis)
        if not grow:
            return cls(basis, new)
        factor = basis.factor_to(new)
        return cls(basis, new, Rescaling.of(node, factor, with_norms=basis.nodal))

    @property
    def factor(self) -> int:
        """The factor m of the steps."""
        return self.old.factor_to(self.new)

    @property
    def growth(self) -> int:
        """The factor of epsilon."""
        return self.factor if self.rescaling else 1

    def apply(self, nodes: nn.ModuleList) -> tuple[nn.ModuleList, list[Origin]]:
        """Return the new nodes, and the origins of their parameters in order.

        A node that continues unchanged remains the same module.
        """
        old = [dict(node.named_parameters()) for node in nodes]
        rows = projection(self.old, self.new)
        new = in_basis(nodes, self.old, self.new, rows)
        origins = []
        divisors = self.rescaling.parameters if self.rescaling else {}
        for node, row in zip(new, rows, strict=True):
            if self.rescaling is not None:
                self.rescaling.apply(node)
            for name, parameter in node.named_parameters():
                divisor = divisors.get(name, 1)
                parts = [(old[k][name], float(weight) / divisor) for k, weight in row]
                origins.append((parameter, parts))
        return new, origins


def with_eps_of(
    node: nn.Module, basis: Basis, grown_by: int, new_basis: Basis, new_grown_by: int
) -> nn.Module:
    """Return a node whose batch norms have the eps of another basis and growth of epsilon.

    A refinement divides it where epsilon grows and nodes are values of theta.
    """
    before, after = (
        grown if one.nodal else 1 for one, grown in ((basis, grown_by), (new_basis, new_grown_by))
    )
    if before != after:
        norms = [norm for _, norm in before_batch_norms(node)]
        scale_eps(node, norms, sqrt(after / before))
    return node
