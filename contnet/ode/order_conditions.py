"""Order conditions of Runge-Kutta schemes, one for each rooted tree.

A scheme (a, b, c) has order p if, for every rooted tree of up to p vertices,

    sum_i b_i phi_i(tree) = 1 / gamma(tree).

The elementary weights phi and the density gamma multiply over the branches of the tree: phi_i is
the product of (a phi(branch))_i, and gamma is the number of vertices times the product of the
gamma(branch). Source: Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.2;
Butcher, "Numerical Methods for Ordinary Differential Equations", section 31.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache

Tree = tuple["Tree", ...]
"""A rooted tree: the trees at its root, its branches, in ascending order."""

Row = tuple[Fraction, ...]
"""Weights, one for each stage, in exact rationals."""


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """Return the rooted trees of `order` vertices: 1, 1, 2, 4, 9, 20, 48, 115 for orders 1 to 8."""
    return tuple(_forests(order - 1, order - 1))


def _forests(n_vertices: int, largest: int, after: Tree = ()) -> Iterator[tuple[Tree, ...]]:
    """Yield the ascending lists of trees, from `after` on, with `n_vertices` vertices in all."""
    if n_vertices == 0:
        yield ()
    for size in range(1, min(n_vertices, largest) + 1):
        for first in trees(size):
            if (size, first) >= (n_of(after), after):
                for rest in _forests(n_vertices - size, n_vertices - size, first):
                    yield (first, *rest)


def n_of(tree: Tree) -> int:
    """Return the number of vertices of a tree."""
    return 1 + sum(map(n_of, tree))


def density(tree: Tree) -> int:
    """Return gamma(tree)."""
    result = n_of(tree)
    for branch in tree:
        result *= density(branch)
    return result


def elementary_weights(a: Sequence[Row], order: int) -> Iterator[tuple[int, Tree, Row]]:
    """Yield (number of vertices, tree, phi(tree)) for the trees of up to `order` vertices."""
    found: dict[Tree, Row] = {}
    applied: dict[Tree, Row] = {}
    for n in range(1, order + 1):
        for tree in trees(n):
            phi: Row = (Fraction(1),) * len(a)
            for branch in tree:
                if branch not in applied:
                    applied[branch] = tuple(dot(row, found[branch]) for row in a)
                phi = tuple(x * y for x, y in zip(phi, applied[branch], strict=True))
            found[tree] = phi
            yield n, tree, phi


def residuals(a: Sequence[Row], b: Row, order: int) -> Iterator[tuple[int, Fraction]]:
    """Yield (order, residual) of each condition of the orders 1 to `order`."""
    for n, tree, phi in elementary_weights(a, order):
        yield n, dot(b, phi) - Fraction(1, density(tree))


def dot(u: Iterable[Fraction], v: Iterable[Fraction]) -> Fraction:
    """Return the sum of products, as far as the shorter one goes."""
    return sum((x * y for x, y in zip(u, v, strict=False) if x and y), Fraction(0))
