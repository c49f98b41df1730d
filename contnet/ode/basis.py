"""theta(t): the weights of an ODE block as a function of depth-time t in [0, 1], made from K nodes.

    theta(t) = sum_k phi_k(t) theta_k            (Queiruga et al. 2021, arXiv 2106.10820)

A basis is the choice of the functions phi_k, polynomials on each of a number of equal *elements* of [0, 1]; the sum is
the business of `contnet.combination`.

This is the only owner of the **knot rule**: which element a Runge-Kutta stage looks up when its time falls on the
border of two. A stage at the end of its step (c = 1) takes the limit from the left, every other stage the limit from
the right, so that no step mixes the weights of the element it covers with those of the next one; with any other rule a
scheme of order 4 becomes one of order 1. Look-ups are made in exact arithmetic and once, when a block is set up.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, comb, floor, lcm
from typing import Self

import torch
from torch import Tensor, nn

from contnet import arguments
from contnet.ode.combination import Combination

Polynomial = tuple[Fraction, ...]
"""Coefficients of 1, s, s^2, .., where s goes from 0 to 1 through an element."""

Weights = tuple[tuple[int, float], ...]
"""The nodes that make up theta(t), each with its phi_k(t); those with phi_k(t) = 0 are left out."""

Row = tuple[tuple[int, Fraction], ...]
"""What a new node is the sum of: old nodes, each with a weight."""


@dataclass(frozen=True)
class Basis(ABC):
    """`n_basis` functions of depth-time; each kind of basis says what they are.

    Raises:
        ValueError: if this kind cannot have `n_basis` functions, or fails its own check: the functions are linearly
            dependent, or those of a nodal basis do not add up to 1.
    """

    n_basis: int

    name = ""
    nodal = True
    """Whether nodes are values of theta: the functions are then never negative and add up to 1."""
    combines = True
    """Whether theta(t) is computed; else it is always one of the nodes, as it stands."""
    nodes_of_an_element = 1
    """Where every element has nodes of its own: how many."""

    def __post_init__(self) -> None:
        arguments.integer("n_basis", self.n_basis, minimum=1)
        _check(self)

    def __str__(self) -> str:
        return f"{self.name}, {self.n_basis} {'node' if self.n_basis == 1 else 'nodes'}"

    @property
    @abstractmethod
    def n_elements(self) -> int:
        """Number of equal elements of [0, 1]; theta is smooth on each."""

    @abstractmethod
    def functions(self, element: int) -> dict[int, Polynomial]:
        """phi_k on an element, for the nodes k that have a part in it."""

    @property
    @abstractmethod
    def n_refined(self) -> int:
        """Functions of the next finer basis of this kind, which holds every theta of this one."""

    @property
    def n_together(self) -> int:
        """Nodes that make up theta(t), at most."""
        return max(len(self.functions(element)) for element in range(self.n_elements))

    @property
    def intervals(self) -> list[tuple[Fraction, Fraction]]:
        """The elements, as intervals of depth-time."""
        return [
            (Fraction(k, self.n_elements), Fraction(k + 1, self.n_elements))
            for k in range(self.n_elements)
        ]

    def locate(self, t: Fraction, *, from_left: bool) -> int:
        """The element that holds time t; a knot belongs to the element that it ends where `from_left`, else to the one
        that it begins."""
        position = t * self.n_elements
        return ceil(position) - 1 if from_left else floor(position)

    def weights(self, t: Fraction, element: int) -> Weights:
        """What theta(t) is made of, for a time t within an element or on its border."""
        s = t * self.n_elements - element
        found = ((k, float(_value(phi, s))) for k, phi in self.functions(element).items())
        return tuple((k, weight) for k, weight in found if weight != 0)

    def rate(self, nodes: nn.ModuleList, weights: Weights) -> nn.Module:
        """R(. ; theta(t)) for the given weights."""
        return Combination(
            [nodes[k] for k, _ in weights], [weight for _, weight in weights], nodal=self.nodal
        )

    def rate_on(self, nodes: nn.ModuleList, element: int) -> Callable[[Tensor], nn.Module]:
        """t -> R(. ; theta(t)) for any time, a tensor of one number, on an element: for solvers that choose it."""
        if all(len(phi) == 1 for phi in self.functions(element).values()):
            constant = self.rate(nodes, self.weights(Fraction(element, self.n_elements), element))
            return lambda t: constant
        return lambda t: self.rate(nodes, self.weights(Fraction(t.item()), element))

    def refine(self) -> tuple[Self, list[Row]]:
        """The next finer basis, and what its nodes are the sums of so that theta(t) is the same function."""
        refined = replace(self, n_basis=self.n_refined)
        return refined, list(projection(self, refined))


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

    def rate(self, nodes: nn.ModuleList, weights: Weights) -> nn.Module:
        ((k, _),) = weights
        return nodes[k]


class PiecewiseLinear(Basis):
    """theta(t) is linear on each of K / 2 intervals, from one node to another, and may jump between them."""

    name = "piecewise_linear"
    nodes_of_an_element = 2

    @property
    def n_elements(self) -> int:
        return self.n_basis // 2

    @property
    def n_refined(self) -> int:
        return 2 * self.n_basis

    def functions(self, element: int) -> dict[int, Polynomial]:
        return {
            2 * element: (Fraction(1), Fraction(-1)),
            2 * element + 1: (Fraction(0), Fraction(1)),
        }


class ContinuousLinear(Basis):
    """theta(t) joins K nodes by straight lines (the hats of finite elements); a single node is a constant."""

    name = "continuous_linear"

    @property
    def n_elements(self) -> int:
        return max(1, self.n_basis - 1)

    @property
    def n_refined(self) -> int:
        return max(2, 2 * self.n_basis - 1)

    def functions(self, element: int) -> dict[int, Polynomial]:
        if self.n_basis == 1:
            return {0: (Fraction(1),)}
        return {element: (Fraction(1), Fraction(-1)), element + 1: (Fraction(0), Fraction(1))}


class Legendre(Basis):
    """theta(t) is a polynomial of degree K - 1: the nodes are the coefficients of Legendre's polynomials on [0, 1]."""

    name = "legendre"
    nodal = False

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
    """The basis called `name` with `n_basis` functions; `argument` is what a message calls their number.

    Raises:
        ValueError: if there is none.
    """
    kind = BASES[arguments.one_of("basis", name, BASES)]
    arguments.integer(argument, n_basis, minimum=1)
    if n_basis % kind.nodes_of_an_element:
        raise ValueError(
            f"{argument} must be a multiple of {kind.nodes_of_an_element} with the basis {name}, got {n_basis}"
        )
    return kind(n_basis)


@lru_cache
def projection(source: Basis, target: Basis) -> tuple[Row, ...]:
    """The nodes in `target` whose theta is nearest to that of the nodes in `source`, in the mean square over [0, 1],
    each as a sum of the latter.

    With functions psi of `target` and phi of `source` that is the solution of G theta' = C theta, G_ij = (psi_i, psi_j)
    and C_ij = (psi_i, phi_j), here in exact arithmetic. It is the same theta where `target` holds it.
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
    """The integrals over [0, 1] of each function of `a` times each of `b`, exactly."""
    found = [[Fraction(0)] * b.n_basis for _ in range(a.n_basis)]
    n_pieces = lcm(a.n_elements, b.n_elements)
    for piece in range(n_pieces):
        pieces = [_on_piece(basis, piece, n_pieces) for basis in (a, b)]
        for i, phi in pieces[0].items():
            for j, psi in pieces[1].items():
                found[i][j] += _integral_of_product(phi, psi) / n_pieces
    return found


def _on_piece(basis: Basis, piece: int, n_pieces: int) -> dict[int, Polynomial]:
    """The functions on one of `n_pieces` equal parts of [0, 1], as polynomials from 0 to 1 through it."""
    ratio = Fraction(basis.n_elements, n_pieces)
    element = floor(piece * ratio)
    start = piece * ratio - element
    return {k: _substituted(phi, start, ratio) for k, phi in basis.functions(element).items()}


def _substituted(p: Polynomial, start: Fraction, ratio: Fraction) -> Polynomial:
    """p(start + ratio s) as a polynomial of s."""
    result: list[Fraction] = []
    for coefficient in reversed(p):  # Horner
        times_s = [Fraction(0), *(ratio * c for c in result)]
        result = [a + start * b for a, b in zip(times_s, [*result, Fraction(0)], strict=True)]
        result[0] += coefficient
    return tuple(result)


def _integral_of_product(p: Polynomial, q: Polynomial) -> Fraction:
    return sum((a * b / (i + j + 1) for i, a in enumerate(p) for j, b in enumerate(q)), Fraction(0))


def _value(p: Polynomial, s: Fraction) -> Fraction:
    result = Fraction(0)
    for coefficient in reversed(p):
        result = result * s + coefficient
    return result


@lru_cache
def _check(basis: Basis) -> None:
    n = basis.n_basis
    if n % basis.nodes_of_an_element:
        raise ValueError(f"n_basis must be a multiple of {basis.nodes_of_an_element}, got {n}")
    gram = torch.tensor(
        [[float(value) for value in row] for row in _inner_products(basis, basis)],
        dtype=torch.float64,
    )
    if torch.linalg.matrix_rank(gram, hermitian=True) < n:
        raise ValueError(f"basis {basis.name}: its {n} functions are linearly dependent")
    for element in range(basis.n_elements if basis.nodal else 0):
        for s in (Fraction(0), Fraction(1, 3), Fraction(1)):
            if sum(_value(phi, s) for phi in basis.functions(element).values()) != 1:
                raise ValueError(
                    f"basis {basis.name}: its functions do not add up to 1 on element {element}"
                )
