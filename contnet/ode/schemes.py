"""Runge-Kutta schemes as data.

One step of length h takes the state x(t) of dx/dt = f(t, x) to

    k_i = f(t + c_i h,  x + h sum_{j<i} a_ij k_j),        i = 1 .. n_stages
    x(t + h) = x + h sum_i b_i k_i.

A scheme is the tableau (a, b, c), in exact rationals, and the order that it claims. It proves the
claim when it is made, by the order conditions of Butcher, "Numerical Methods for Ordinary
Differential Equations", section 31. Adaptive schemes choose their own steps and are torchdiffeq's;
this module holds their names, orders and tolerances.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from contnet import arguments

Rational = int | str | Fraction
Tableau = tuple[tuple[tuple[Fraction, ...], ...], tuple[Fraction, ...], tuple[Fraction, ...]]
"""The weights (a, b, c) of a scheme."""

HIGHEST_ORDER = 4
"""The highest order whose conditions are checked."""


@dataclass(frozen=True)
class Scheme:
    """An explicit Runge-Kutta scheme with a fixed step.

    `a[i]` holds the i weights of stage i (strictly lower triangle), `b` the weights of the update,
    and `c` the times of the stages in units of the step. They are kept as fractions: a time that
    was rounded may lie on the wrong side of a knot.

    Raises:
        ValueError: if the order is not from 1 to 4, the shapes disagree, a row of `a` does not sum
            to its `c`, a stage lies outside of its step, or an order condition fails.
    """

    name: str
    order: int
    a: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]
    c: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        if type(self.order) is not int or not 1 <= self.order <= HIGHEST_ORDER:
            raise ValueError(
                f"scheme {self.name}: order must be a whole number from 1 to {HIGHEST_ORDER}, "
                f"got {self.order!r}"
            )
        object.__setattr__(self, "a", tuple(map(_fractions, self.a)))
        object.__setattr__(self, "b", _fractions(self.b))
        object.__setattr__(self, "c", _fractions(self.c))
        if not len(self.a) == len(self.b) == len(self.c) or any(
            len(row) != i for i, row in enumerate(self.a)
        ):
            raise ValueError(
                f"scheme {self.name}: a must be strictly lower triangular, "
                "with as many rows as b and c"
            )
        for row, c in zip(self.a, self.c, strict=True):
            if sum(row) != c:
                raise ValueError(f"scheme {self.name}: the row {row} of a does not sum to c = {c}")
            if not 0 <= c <= 1:  # theta is another function there, or none
                raise ValueError(f"scheme {self.name}: c must be from 0 to 1, got {c}")
        for order, residual in self._order_conditions():
            if order <= self.order and residual != 0:
                raise ValueError(
                    f"scheme {self.name}: a condition of order {order} fails by {residual}"
                )

    def __hash__(self) -> int:
        # Of the name alone: a hash of all the fractions would take longer than a step.
        return hash(self.name)

    @property
    def n_stages(self) -> int:
        """Rate evaluations in one step."""
        return len(self.b)

    @property
    def tableau(self) -> Tableau:
        """The weights (a, b, c), which make the scheme what it is under any name."""
        return self.a, self.b, self.c

    def _order_conditions(self) -> list[tuple[int, Fraction]]:
        """Return the eight conditions up to order 4, one per rooted tree, as (order, residual)."""
        b, c = self.b, self.c

        def apply_a(v: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
            return tuple(_dot(row, v) for row in self.a)

        c2 = tuple(x**2 for x in c)
        ac = apply_a(c)
        return [
            (1, sum(b, Fraction(0)) - 1),
            (2, _dot(b, c) - Fraction(1, 2)),
            (3, _dot(b, c2) - Fraction(1, 3)),
            (3, _dot(b, ac) - Fraction(1, 6)),
            (4, _dot(b, tuple(x**3 for x in c)) - Fraction(1, 4)),
            (4, _dot(b, tuple(x * y for x, y in zip(c, ac, strict=True))) - Fraction(1, 8)),
            (4, _dot(b, apply_a(c2)) - Fraction(1, 12)),
            (4, _dot(b, apply_a(ac)) - Fraction(1, 24)),
        ]


MOST_STEPS = 4096
"""Steps of an adaptive scheme on an interval. With more, the tolerance is below rounding errors."""


@dataclass(frozen=True)
class AdaptiveScheme:
    """A scheme of torchdiffeq, which chooses its steps so that the local error stays in bounds.

    The bound is rtol |x| + atol. On each interval on which theta is smooth, the scheme takes at
    most `max_num_steps` steps.

    Raises:
        ValueError: if torchdiffeq has no such scheme, it has another order, or a tolerance or the
            number of steps is not positive.
    """

    name: str
    order: int
    rtol: float = 1e-4
    atol: float = 1e-4
    max_num_steps: int = MOST_STEPS

    def __post_init__(self) -> None:
        order = ADAPTIVE_ORDERS[arguments.one_of("scheme", self.name, ADAPTIVE_ORDERS)]
        if self.order != order:
            raise ValueError(f"order must be {order} for {self.name}, got {self.order!r}")
        arguments.number("rtol", self.rtol, minimum=0, exclusive=True)
        arguments.number("atol", self.atol, minimum=0, exclusive=True)
        arguments.integer("max_num_steps", self.max_num_steps, minimum=1)


def _dot(u: tuple[Fraction, ...], v: tuple[Fraction, ...]) -> Fraction:
    return sum((x * y for x, y in zip(u, v, strict=False)), Fraction(0))


def _fractions(values: Iterable[Rational | float]) -> tuple[Fraction, ...]:
    return tuple(Fraction(value) for value in values)


def _scheme(name: str, order: int, a: list[list[Rational]], b: list[Rational]) -> Scheme:
    rows = tuple(map(_fractions, a))
    return Scheme(
        name, order, a=rows, b=_fractions(b), c=tuple(sum(row, Fraction(0)) for row in rows)
    )


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        _scheme("euler", 1, a=[[]], b=[1]),
        _scheme("midpoint", 2, a=[[], ["1/2"]], b=[0, 1]),
        _scheme("heun2", 2, a=[[], [1]], b=["1/2", "1/2"]),
        _scheme("ralston2", 2, a=[[], ["2/3"]], b=["1/4", "3/4"]),
        _scheme("heun3", 3, a=[[], ["1/3"], [0, "2/3"]], b=["1/4", 0, "3/4"]),
        # The 3/8 rule, under the name that torchdiffeq gives it.
        _scheme("rk4", 4, a=[[], ["1/3"], ["-1/3", 1], [1, -1, 1]], b=["1/8", "3/8", "3/8", "1/8"]),
        _scheme(
            "rk4_classic", 4, a=[[], ["1/2"], [0, "1/2"], [0, 0, 1]], b=["1/6", "1/3", "1/3", "1/6"]
        ),
    )
}
"""The fixed-step schemes, by name."""

ADAPTIVE_ORDERS = {"dopri5": 5, "dopri8": 8, "bosh3": 3, "fehlberg2": 2, "adaptive_heun": 2}
"""The orders of torchdiffeq's adaptive schemes, by name."""

ADAPTIVE_SCHEMES: dict[str, AdaptiveScheme] = {
    name: AdaptiveScheme(name, order) for name, order in ADAPTIVE_ORDERS.items()
}
"""The adaptive schemes, by name, with default tolerances."""


def find_scheme(
    name: str, rtol: float | None = None, atol: float | None = None
) -> Scheme | AdaptiveScheme:
    """Return the scheme called `name`, with tolerances if they are given.

    Raises:
        ValueError: if there is no such scheme, a tolerance is not positive, or one is given for a
            scheme that takes fixed steps.
    """
    schemes: dict[str, Scheme | AdaptiveScheme] = {**SCHEMES, **ADAPTIVE_SCHEMES}
    return with_tolerances(schemes[arguments.one_of("scheme", name, schemes)], rtol, atol)


def with_tolerances(
    scheme: Scheme | AdaptiveScheme,
    rtol: float | None,
    atol: float | None,
    max_num_steps: int | None = None,
) -> Scheme | AdaptiveScheme:
    """Return a scheme with other tolerances; one that is None stays as it is.

    Raises:
        ValueError: if a tolerance or the number of steps is not positive, or is given for a scheme
            that takes fixed steps.
    """
    limits = {"rtol": rtol, "atol": atol, "max_num_steps": max_num_steps}
    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    if isinstance(scheme, AdaptiveScheme):
        return replace(scheme, **given)
    for name, value in given.items():
        raise ValueError(
            f"{name} must be left out with the scheme {scheme.name}, which takes fixed steps, "
            f"got {value!r}"
        )
    return scheme
