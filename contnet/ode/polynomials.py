"""Polynomials in exact arithmetic, from which the functions of a basis are made."""

from fractions import Fraction

Polynomial = tuple[Fraction, ...]
"""Coefficients of 1, s, s^2, ..., where s goes from 0 to 1 through an element of depth-time."""


def value(p: Polynomial, s: Fraction) -> Fraction:
    """Return p(s)."""
    result = Fraction(0)
    for coefficient in reversed(p):  # Horner
        result = result * s + coefficient
    return result


def substitute(p: Polynomial, start: Fraction, ratio: Fraction) -> Polynomial:
    """Return p(start + ratio s) as a polynomial of s."""
    result: list[Fraction] = []
    for coefficient in reversed(p):  # Horner
        times_s = [Fraction(0), *(ratio * c for c in result)]
        result = [a + start * b for a, b in zip(times_s, [*result, Fraction(0)], strict=True)]
        result[0] += coefficient
    return tuple(result)


def integral_of_product(p: Polynomial, q: Polynomial) -> Fraction:
    """Return the integral of p(s) q(s) over [0, 1]."""
    products = (a * b / (i + j + 1) for i, a in enumerate(p) for j, b in enumerate(q))
    return sum(products, Fraction(0))
