"""theta(t): the weights of an ODE block as a function of depth-time t in [0, 1], made from K nodes.

    theta(t) = sum_k phi_k(t) theta_k            (Queiruga et al. 2021, arXiv 2106.10820)

A basis is the choice of the functions phi_k. They are polynomials on each of a number of equal
*elements* of [0, 1]. `contnet.ode.combination` computes the sum.

This module is the only owner of the **knot rule**: the rule that says which element a Runge-Kutta
stage looks up when its time falls on the border of two. A stage at the end of its step (c = 1)
takes the limit from the left, every other stage the limit from the right. So no step mixes the
weights of the element that it covers with those of the next one. With any other rule a scheme of
order 4 becomes one of order 1. Elements are looked up in exact arithmetic, once, when a block is
set up.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import count, islice
from math import ceil, floor, lcm
from typing import Self

import torch
from torch import Tensor, nn

from contnet import arguments
from contnet.ode import polynomials
from contnet.ode.alike import check_alike
from contnet.ode.combination import Combination, Combined, recombined
from contnet.ode.polynomials import Polynomial

Rate = Callable[[Tensor], Tensor]
"""R(. ; theta): maps a state to its rate of change, of the same shape."""

Weights = tuple[tuple[int, float], ...]
"""The pairs (k, phi_k(t)) of the nodes that make up theta(t), without zeros."""

Row = tuple[tuple[int, Fraction], ...]
"""The pairs (old node, weight) whose weighted sum is a new node."""


@dataclass(frozen=True)
class Basis(ABC):
    """`n_basis` functions of depth-time. Each kind of basis is a subclass that defines them.

    `nodal` says that nodes are values of theta; the functions are then never negative and add up to
    1. `combines` says that theta(t) is computed as a sum; otherwise it is always one of the
    nodes. `nodes_of_an_element` is the number of nodes that belong to each element alone. More than
    `most_nodes` would take too long to set up: all is computed in rationals.

    Raises:
        ValueError: if this kind cannot have `n_basis` functions, if the functions are linearly
            dependent, or if those of a nodal basis do not add up to 1.
    """

    n_basis: int

    name = ""
    nodal = True
    combines = True
    nodes_of_an_element = 1
    most_nodes = 1024

    def __post_init__(self) -> None:
        arguments.integer("n_basis", self.n_basis, minimum=1)
        _check(self)

    def __str__(self) -> str:
        return f"{self.name}, {self.n_basis} {'node' if self.n_basis == 1 else 'nodes'}"

    @property
    @abstractmethod
    def n_elements(self) -> int:
        """Number of equal elements of [0, 1], on each of which theta is smooth."""

    @abstractmethod
    def functions(self, element: int) -> dict[int, Polynomial]:
        """Return phi_k on an element, for each node k where it is not zero throughout."""

    @property
    @abstractmethod
    def n_refined(self) -> int:
        """Number of functions of the next finer basis, which represents every theta of this one."""

    @property
    def fineness(self) -> int:
        """A measure that doubles when the basis is refined to `n_refined` functions.

        A basis of this kind represents every theta of this one if its fineness is a multiple.
        """
        return self.n_basis

    @property
    def n_together(self) -> int:
        """The largest number of nodes that make up theta(t) at any t."""
        return max(len(self.functions(element)) for element in range(self.n_elements))

    @property
    def intervals(self) -> list[tuple[Fraction, Fraction]]:
        """The elements as intervals of depth-time."""
        return [
            (Fraction(k, self.n_elements), Fraction(k + 1, self.n_elements))
            for k in range(self.n_elements)
        ]

    def locate(self, t: Fraction, *, from_left: bool) -> int:
        """Return the element that holds time t.

        A knot belongs to the element that it ends where `from_left`, else to the one it begins.
        """
        position = t * self.n_elements
        return ceil(position) - 1 if from_left else floor(position)

    def weights(self, t: Fraction, element: int) -> Weights:
        """Return the nodes that make up theta(t), for a time t in an element or on its border."""
        s = t * self.n_elements - element
        found = (
            (k, float(polynomials.value(phi, s))) for k, phi in self.functions(element).items()
        )
        return tuple((k, weight) for k, weight in found if weight != 0)

    def combination(self, weights: Weights) -> Combination:
        """Return the sum of nodes that makes up theta(t)."""
        return Combination([weight for _, weight in weights], nodal=self.nodal)

    def rate(
        self,
        nodes: Sequence[nn.Module],
        weights: Weights,
        combination: Combination | None = None,
        host: nn.Module | None = None,
    ) -> Rate:
        """Return R(. ; theta(t)) for the weights of theta(t).

        `combination` is that of the weights, where it has been made before. `host` is the node that
        is evaluated in place of the first of those that are summed.
        """
        summed = [nodes[k] for k, _ in weights]
        return Combined(combination or self.combination(weights), summed, host or summed[0])

    def rate_on(
        self, nodes: Sequence[nn.Module], element: int, host: nn.Module | None = None
    ) -> Callable[[float], Rate]:
        """Return t -> R(. ; theta(t)) on an element, for solvers that choose their times."""
        if all(len(phi) == 1 for phi in self.functions(element).values()):
            weights = self.weights(Fraction(element, self.n_elements), element)
            constant = self.rate(nodes, weights, host=host)
            return lambda t: constant
        return lambda t: self.rate(nodes, self.weights(Fraction(t), element), host=host)

    def finer(self, n_basis: int | None = None) -> Self:
        """Return the basis of `n_basis` functions, by default the next finer one.

        Raises:
            ValueError: if its fineness is no multiple of this one's, or there is no such basis.
        """
        if n_basis is not None:
            arguments.integer("n_basis", n_basis, minimum=1)
        if n_basis is not None and not self._is_refined_by(n_basis):
            possible = (n for n in count(self.n_basis + 1) if self._is_refined_by(n))
            some = ", ".join(str(n) for n in islice(possible, 3))
            raise ValueError(f"{self} can be refined to {some} or more nodes, got {n_basis!r}")
        return replace(self, n_basis=self.n_refined if n_basis is None else n_basis)

    def factor_to(self, finer: Self) -> int:
        """Return the factor by which a refinement to a finer basis multiplies the steps."""
        return 2 if finer.n_basis == self.n_refined else finer.fineness // self.fineness

    def _is_refined_by(self, n_basis: int) -> bool:
        if n_basis <= self.n_basis or n_basis % self.nodes_of_an_element:
            return False
        return replace(self, n_basis=n_basis).fineness % self.fineness == 0


def in_basis(nodes: nn.ModuleList, old: Basis, new: Basis, rows: Sequence[Row]) -> nn.ModuleList:
    """Return the nodes of the basis `new`: each is the weighted sum of old nodes in its row.

    Raises:
        ValueError: if nodes have to be summed whose weights cannot be: see `check_alike`.
    """
    if any(len(row) > 1 or row[0][1] != 1 for row in rows):
        check_alike(list(nodes), new.name)
    weighted = [[(k, float(weight)) for k, weight in row] for row in rows]
    return recombined(nodes, weighted, nodal_before=old.nodal, nodal=new.nodal)


@lru_cache
def projection(source: Basis, target: Basis) -> tuple[Row, ...]:
    """Return the nodes in `target` whose theta is nearest to that of the nodes in `source`.

    Each is a weighted sum of the nodes in `source`. The distance is the mean square over [0, 1].
    theta is unchanged if `target` can represent it. With functions psi of `target` and phi of
    `source`, the nodes theta' solve G theta' = C theta, where G_ij = (psi_i, psi_j) and
    C_ij = (psi_i, phi_j). The solution is exact.
    """
    rows = [
        [*left, *right]
        for left, right in zip(
            _inner_products(target, target), _inner_products(target, source), strict=True
        )
    ]
    n = target.n_basis
    for i in range(n):  # Gauss-Jordan; a Gram matrix needs no pivoting
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(n):
            if j != i and rows[j][i]:
                factor = rows[j][i]
                rows[j] = [
                    a - factor * b if b else a for a, b in zip(rows[j], rows[i], strict=True)
                ]
    solved = [tuple((k, weight) for k, weight in enumerate(row[n:]) if weight) for row in rows]
    return tuple(row or ((0, Fraction(0)),) for row in solved)


@lru_cache
def _inner_products(a: Basis, b: Basis) -> list[list[Fraction]]:
    """Return the integrals over [0, 1] of each function of `a` times each of `b`."""
    found = [[Fraction(0)] * b.n_basis for _ in range(a.n_basis)]
    n_pieces = lcm(a.n_elements, b.n_elements)
    for piece in range(n_pieces):
        pieces = [_on_piece(basis, piece, n_pieces) for basis in (a, b)]
        for i, phi in pieces[0].items():
            for j, psi in pieces[1].items():
                found[i][j] += polynomials.integral_of_product(phi, psi) / n_pieces
    return found


def _on_piece(basis: Basis, piece: int, n_pieces: int) -> dict[int, Polynomial]:
    """Return the functions on one of `n_pieces` equal parts of [0, 1], as polynomials on it."""
    ratio = Fraction(basis.n_elements, n_pieces)
    element = floor(piece * ratio)
    start = piece * ratio - element
    return {
        k: polynomials.substitute(phi, start, ratio) for k, phi in basis.functions(element).items()
    }


@lru_cache
def _check(basis: Basis) -> None:
    # Cached: many ODE blocks have equal bases, and the exact check is slow.
    n = basis.n_basis
    if n % basis.nodes_of_an_element:
        raise ValueError(f"n_basis must be a multiple of {basis.nodes_of_an_element}, got {n}")
    if n > basis.most_nodes:
        most = basis.most_nodes
        raise ValueError(f"n_basis must be at most {most} with the basis {basis.name}, got {n}")
    gram = torch.tensor(
        [[float(value) for value in row] for row in _inner_products(basis, basis)],
        dtype=torch.float64,
        device="cpu",
    )
    if torch.linalg.matrix_rank(gram, hermitian=True) < n:
        raise ValueError(f"basis {basis.name}: its {n} functions are linearly dependent")
    for element in range(basis.n_elements if basis.nodal else 0):
        for s in (Fraction(0), Fraction(1, 3), Fraction(1)):
            if sum(polynomials.value(phi, s) for phi in basis.functions(element).values()) != 1:
                raise ValueError(
                    f"basis {basis.name}: its functions do not add up to 1 on element {element}"
                )
