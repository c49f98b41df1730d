"""Runge-Kutta tableaus: the weights of a scheme, and the proof of the order that it claims."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from contnet.ode.order_conditions import Row, residuals

Rational = int | str | Fraction
Tableau = tuple[tuple[Row, ...], Row, Row]
"""The weights (a, b, c) of a scheme."""

HIGHEST_ORDER = 5
"""The highest order whose conditions are checked when a scheme is made."""


def fractions(values: Iterable[Rational | float]) -> Row:
    """Return numbers as fractions; texts may be ratios or decimals."""
    return tuple(Fraction(value) for value in values)


def hold_fractions(scheme: Any, *weights: str) -> None:
    """Turn the rows of `a` and the named weights of a frozen dataclass into fractions."""
    for name in weights:
        object.__setattr__(scheme, name, fractions(getattr(scheme, name)))
    object.__setattr__(scheme, "a", tuple(map(fractions, scheme.a)))


def explicit(rows: Iterable[Iterable[Rational]]) -> tuple[tuple[Row, ...], Row]:
    """Return the rows of `a` as fractions, and the times c that they add up to."""
    a = tuple(map(fractions, rows))
    return a, tuple(sum(row, Fraction(0)) for row in a)


def check_explicit(name: str, a: Sequence[Row], weights: Iterable[Row], c: Row) -> None:
    """Check that `a` is strictly lower triangular, and adds up to times within the step.

    Raises:
        ValueError: if the shapes disagree, a row of `a` does not sum to its `c`, or a stage lies
            outside of its step.
    """
    if any(len(row) != len(a) for row in (*weights, c)) or any(
        len(row) != i for i, row in enumerate(a)
    ):
        raise ValueError(
            f"scheme {name}: a must be strictly lower triangular, with as many rows as b and c"
        )
    for row, time in zip(a, c, strict=True):
        if sum(row) != time:
            raise ValueError(f"scheme {name}: the row {row} of a does not sum to c = {time}")
        if not 0 <= time <= 1:  # theta is another function there, or none
            raise ValueError(f"scheme {name}: c must be from 0 to 1, got {time}")


def check_order(
    name: str, a: Sequence[Row], b: Row, order: int, rounding: Fraction = Fraction(0)
) -> None:
    """Check the order conditions, up to `rounding` where coefficients are published as decimals.

    Conditions beyond `HIGHEST_ORDER` are left to the tests.

    Raises:
        ValueError: if one fails.
    """
    for n, residual in residuals(a, b, min(order, HIGHEST_ORDER)):
        if abs(residual) > rounding:
            shown = residual if rounding == 0 else f"{float(residual):.2g}"
            raise ValueError(f"scheme {name}: a condition of order {n} fails by {shown}")
