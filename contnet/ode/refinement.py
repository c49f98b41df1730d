"""From the nodes of one basis to those of a finer one, with theta(t) unchanged.

A refinement multiplies the steps by a factor m. It may let epsilon *grow* by the same factor, and
divide the last affine map of the rate by it:

    epsilon R(x; W, b)  =  (m epsilon) R(x; W / m, b / m)

The function remains. But its parameters are now those of a block that was built with so many nodes,
whose every step is x + R(x). `contnet.ode.rescaling` says what becomes of the other weights.
"""

from dataclasses import dataclass
from typing import Self

from torch import nn

from contnet.ode.basis import Basis, in_basis, projection
from contnet.ode.rescaling import Rescaling

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
        # A node that acts alone has batch norms of its own; a sum of nodes has a sum of theirs.
        factor = basis.factor_to(new)
        return cls(basis, new, Rescaling.of(node, factor, with_norms=not basis.combines))

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
