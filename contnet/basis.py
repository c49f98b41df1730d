"""theta(t): the weights of an ODE block as a function of depth-time t in [0, 1], made from K nodes.

    theta(t) = sum_k phi_k(t) theta_k            (Queiruga et al. 2021, arXiv 2106.10820)

A basis is the choice of the functions phi_k, polynomials on each of a number of equal *elements* of [0, 1]. Parameters
and buffers are combined alike, by name, so that any module can be a rate. Of a batch norm's running variance it is the
square root that is combined: the variance at any t is then a square, whatever sign the phi_k have.

This is the only owner of the **knot rule**: which element a Runge-Kutta stage looks up when its time falls on the
border of two. A stage at the end of its step (c = 1) takes the limit from the left, every other stage the limit from
the right, so that no step mixes the weights of the element it covers with those of the next one; with any other rule a
scheme of order 4 becomes one of order 1. Look-ups are made in exact arithmetic and once, when a block is set up.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, comb, floor, lcm
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from contnet import arguments

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
        return [(Fraction(k, self.n_elements), Fraction(k + 1, self.n_elements)) for k in range(self.n_elements)]

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
        return Combination(self, nodes, weights)

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

    def deviation(self, variance: Tensor) -> Tensor:
        """What a node has a part in the standard deviation with, from what its batch norms hold as running variance."""
        # Coefficients of a basis that is not nodal may be negative; any real number v - 1/v is that of one v > 0.
        return variance.sqrt() if self.nodal else variance - 1 / variance

    def variance(self, deviation: Tensor) -> Tensor:
        """The inverse of `deviation` for what batch norms hold, which is never negative."""
        if self.nodal:
            return deviation.square()
        root = (deviation.square() + 4).sqrt()
        # Two forms of the same number, of which one cancels.
        return torch.where(deviation > 0, (root + deviation) / 2, 2 / (root - deviation))


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
        return {2 * element: (Fraction(1), Fraction(-1)), 2 * element + 1: (Fraction(0), Fraction(1))}


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


class Combination(nn.Module):
    """The rate where several nodes make up theta(t). In training, what its batch norms learn of their input goes back
    to the nodes: the smallest change of these that brings theta(t) to its new value."""

    def __init__(self, basis: Basis, nodes: nn.ModuleList, weights: Weights) -> None:
        super().__init__()
        self.basis = basis
        self.nodes = nn.ModuleList(nodes[k] for k, _ in weights)
        # As tensors, since compiled code takes a number for a constant and would be compiled anew for each of them.
        self.weights = [torch.tensor(weight, dtype=torch.float64) for _, weight in weights]
        self.scale = sum(weight**2 for weight in self.weights)
        self.variances = _variances(self.nodes[0])
        self.learns = True

    def forward(self, x: Tensor) -> Tensor:
        node = self.nodes[0]
        theta = {name: combined(same, self.weights) for name, same in _parameters(self.nodes).items()}
        buffers = _buffers(self.nodes)
        with torch.no_grad():
            before = {name: self._value(name, same) for name, same in buffers.items()}
            now = {name: value.square() if name in self.variances else value.clone() for name, value in before.items()}
        result: Tensor = functional_call(node, {**theta, **now}, (x,))
        # Recalibration has the norms alone in training mode.
        if self.learns and any(module.training for module in node.modules()):
            self._learn(buffers, before, now)
        return result

    def _value(self, name: str, same: list[Tensor]) -> Tensor:
        if name in self.variances:
            same = [self.basis.deviation(variance) for variance in same]
        return combined(same, self.weights) if same[0].is_floating_point() else same[0]

    @torch.no_grad()
    def _learn(self, buffers: dict[str, list[Tensor]], before: dict[str, Tensor], now: dict[str, Tensor]) -> None:
        for name, same in buffers.items():
            new = now[name].sqrt().copysign(before[name]) if name in self.variances else now[name]
            change = new - before[name]
            for buffer, weight in zip(same, self.weights, strict=True):
                if not buffer.is_floating_point():
                    buffer += change  # a count
                elif name in self.variances:
                    deviation = self.basis.deviation(buffer) + change * (weight / self.scale)
                    buffer.copy_(self.basis.variance(deviation))
                else:
                    buffer += change * (weight / self.scale)


def recombined(nodes: nn.ModuleList, rows: Sequence[Row], source: Basis, target: Basis) -> nn.ModuleList:
    """New nodes in the basis `target`, each a sum of nodes in the basis `source`. A node that goes on as it is stays
    the same module, where it comes first."""
    made: list[nn.Module] = []
    kept: set[int] = set()
    for row in rows:
        (first, weight), *others = row
        same = weight == 1 and not others and source.nodal == target.nodal
        if same and first not in kept:
            kept.add(first)
            made.append(nodes[first])
            continue
        node = copy.deepcopy(nodes[first])
        made.append(node)
        if not same:
            _set_to_sum(node, [nodes[k] for k, _ in row], [float(weight) for _, weight in row], source, target)
    return nn.ModuleList(made)


@torch.no_grad()
def _set_to_sum(
    node: nn.Module, parts: Sequence[nn.Module], weights: Sequence[float], source: Basis, target: Basis
) -> None:
    variances = _variances(node)
    own = {**_parameters([node]), **_buffers([node])}
    for name, same in {**_parameters(parts), **_buffers(parts)}.items():
        if name in variances:
            deviation = combined([source.deviation(variance) for variance in same], weights)
            own[name][0].copy_(target.variance(deviation))
        elif same[0].is_floating_point():
            own[name][0].copy_(combined(same, weights))


@lru_cache
def projection(source: Basis, target: Basis) -> tuple[Row, ...]:
    """The nodes in `target` whose theta is nearest to that of the nodes in `source`, in the mean square over [0, 1],
    each as a sum of the latter.

    With functions psi of `target` and phi of `source` that is the solution of G theta' = C theta, G_ij = (psi_i, psi_j)
    and C_ij = (psi_i, phi_j), here in exact arithmetic. It is the same theta where `target` holds it.
    """
    rows = [
        [*left, *right]
        for left, right in zip(_inner_products(target, target), _inner_products(target, source), strict=True)
    ]
    n = target.n_basis
    for i in range(n):  # Gauss-Jordan; a Gram matrix needs no pivoting
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(n):
            if j != i and rows[j][i]:
                factor = rows[j][i]
                rows[j] = [a - factor * b if b else a for a, b in zip(rows[j], rows[i], strict=True)]
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
    gram = torch.tensor([[float(value) for value in row] for row in _inner_products(basis, basis)], dtype=torch.float64)
    if torch.linalg.matrix_rank(gram, hermitian=True) < n:
        raise ValueError(f"basis {basis.name}: its {n} functions are linearly dependent")
    for element in range(basis.n_elements if basis.nodal else 0):
        for s in (Fraction(0), Fraction(1, 3), Fraction(1)):
            if sum(_value(phi, s) for phi in basis.functions(element).values()) != 1:
                raise ValueError(f"basis {basis.name}: its functions do not add up to 1 on element {element}")


def _variances(node: nn.Module) -> set[str]:
    """The names of the running variances."""
    norms = [name for name, m in node.named_modules() if isinstance(m, _NormBase) and m.track_running_stats]
    return {f"{name}.running_var".removeprefix(".") for name in norms}


def _parameters(nodes: Iterable[nn.Module]) -> dict[str, list[Tensor]]:
    """By name, those of each node; nodes are copies of one module."""
    return _by_name(node.named_parameters() for node in nodes)


def _buffers(nodes: Iterable[nn.Module]) -> dict[str, list[Tensor]]:
    return _by_name(node.named_buffers() for node in nodes)


def _by_name(named: Iterable[Iterable[tuple[str, Tensor]]]) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for tensors in named:
        for name, tensor in tensors:
            found.setdefault(name, []).append(tensor)
    return found


def combined(tensors: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """The weighted sum of tensors."""
    result = tensors[0] * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        result = result + tensor * weight
    return result
