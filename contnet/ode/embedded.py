"""Embedded pairs: two Runge-Kutta solutions from one set of stages.

A step takes its stages once and forms two solutions: one with the weights b, of the order that the
pair is named by, and one with the weights b_embedded, of another order. Their difference estimates
the error of the step (Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.4).
The step goes on with the first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from contnet import arguments
from contnet.ode.order_conditions import Row, density, dot, elementary_weights
from contnet.ode.polynomials import Polynomial, value
from contnet.ode.tableau import (
    Rational,
    check_explicit,
    check_order,
    explicit,
    fractions,
    hold_fractions,
)


@dataclass(frozen=True)
class EmbeddedPair:
    """An explicit embedded pair of Runge-Kutta schemes.

    `a`, `b` and `c` are those of `contnet.Scheme`. `interpolant` makes a step continuous: the state
    after the share s of a step is x + h sum_i b_i(s) k_i, of order 4. `rounding` is the largest
    residual of an order condition that the digits of published decimals explain; 0 for rationals.

    Raises:
        ValueError: if an order is not a whole number of at least 1, both orders are equal, shapes
            disagree, a stage lies outside of its step, or an order condition up to order 5 fails.
    """

    name: str
    order: int
    a: tuple[Row, ...]
    b: Row
    c: Row
    embedded_order: int
    b_embedded: Row
    interpolant: tuple[Polynomial, ...] | None = None
    rounding: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        hold_fractions(self, "b", "c", "b_embedded")
        arguments.integer("order", self.order, minimum=1)
        arguments.integer("embedded_order", self.embedded_order, minimum=1)
        if self.order == self.embedded_order:
            raise ValueError(f"scheme {self.name}: both orders are {self.order}; they must differ")
        check_explicit(self.name, self.a, (self.b, self.b_embedded), self.c)
        if self.b == self.b_embedded:
            raise ValueError(f"scheme {self.name}: b and b_embedded must differ")
        check_order(self.name, self.a, self.b, self.order, self.rounding)
        check_order(self.name, self.a, self.b_embedded, self.embedded_order, self.rounding)
        if self.interpolant is not None:
            self._check_interpolant(self.interpolant)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def n_stages(self) -> int:
        """Rate evaluations in one step that does not take over the first from the step before."""
        return len(self.b)

    @property
    def first_same_as_last(self) -> bool:
        """True if the last stage of a step is the first of the next one."""
        return self.b[-1] == 0 and self.a[-1] == self.b[:-1]

    @property
    def error_weights(self) -> Row:
        """The weights of the difference of both solutions."""
        return tuple(x - y for x, y in zip(self.b, self.b_embedded, strict=True))

    def _check_interpolant(self, interpolant: tuple[Polynomial, ...]) -> None:
        if len(interpolant) != self.n_stages or max(map(len, interpolant)) > 6:
            raise ValueError(
                f"scheme {self.name}: its interpolant must have a polynomial of degree 5 at most "
                f"for each of {self.n_stages} stages"
            )
        for n, tree, phi in elementary_weights(self.a, 4):
            for i in range(6):  # polynomials of degree 5 at most that agree in six places are equal
                s = Fraction(i, 5)
                b = (value(polynomial, s) for polynomial in interpolant)
                residual = dot(b, phi) - s**n / density(tree)
                if abs(residual) > self.rounding:
                    raise ValueError(
                        f"scheme {self.name}: a condition of order {n} of its interpolant fails by "
                        f"{float(residual):.2g}"
                    )


def embedded_pair(
    name: str,
    orders: tuple[int, int],
    a: list[list[Rational]],
    b: list[Rational],
    b_embedded: Iterable[Rational],
    interpolant: tuple[Polynomial, ...] | None = None,
    rounding: Rational = 0,
) -> EmbeddedPair:
    """Return an embedded pair of two orders; the rows of `a` add up to its times."""
    rows, c = explicit(a)
    return EmbeddedPair(
        name,
        orders[0],
        rows,
        fractions(b),
        c,
        orders[1],
        fractions(b_embedded),
        interpolant,
        Fraction(rounding),
    )


def completed(row: list[Rational], total: Rational) -> list[Rational]:
    """Return a row of weights with its first one such that they add up to `total`."""
    return [Fraction(total) - sum(fractions(row)), *row]
