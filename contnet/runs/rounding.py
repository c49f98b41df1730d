"""How many digits of a figure are shown: those that tell figures apart and that their standard
deviations justify."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from statistics import fmean, stdev

FEWEST, MOST = 3, 5
"""Significant digits of a figure without a standard deviation."""


@dataclass(frozen=True)
class Figure:
    """A figure of several runs.

    Args:
        mean: the mean.
        deviation: the sample standard deviation; None of one run.
        n: the number of runs.
    """

    mean: float
    deviation: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure | None":
        """Return the figure of the values of several runs, or None of no value."""
        if not values:
            return None
        if not all(map(isfinite, values)):
            return cls(float("nan"), None, len(values))
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def shown(figures: Sequence[Figure | None]) -> list[str]:
    """Return the texts of the figures of one column, all with the same number of decimals.

    The decimals are the fewest that tell the means apart. They show two significant digits of the
    largest mean and one of the largest standard deviation, and no more than two of the smallest.
    Without standard deviations a figure has 3 to 5 significant digits. Whole numbers that all runs
    share are shown as they are.
    """
    there = [figure for figure in figures if figure is not None and isfinite(figure.mean)]
    n_decimals = 0 if _are_counts(there) else decimals(there)
    return [_text(figure, n_decimals, counts=_are_counts(there)) for figure in figures]


def decimals(figures: Sequence[Figure]) -> int:
    """Return the number of decimals that tell figures apart and that they justify."""
    deviations = [figure.deviation for figure in figures if figure.deviation]
    largest = max((abs(figure.mean) for figure in figures), default=0)
    if deviations:
        place, finest = _place(max(deviations)), _place(min(deviations))
        # A smaller deviation is not to be shown as 0, if a further decimal is enough for that.
        further = _leads_with_one(max(deviations)) or finest > place
        fewest = max(place + further, _place(largest) + 1)
        most = max(fewest, finest + 1)
    else:
        fewest, most = (_place(largest) + n - 1 for n in (FEWEST, MOST))
    fewest, most = max(fewest, 0), max(most, 0)
    means = [figure.mean for figure in figures]
    return _fewest_apart(means, fewest, most)


def shortened(values: Sequence[str]) -> list[str]:
    """Return the values of a setting; long fractions have as many digits as tell them apart."""
    numbers = [_fraction(value) for value in values]
    fractions = {number for number in numbers if number is not None}
    if not any(len(value) > 7 for value, n in zip(values, numbers, strict=True) if n is not None):
        return list(values)
    n_digits = next(
        (n for n in range(2, 17) if len({f"{f:.{n}g}" for f in fractions}) == len(fractions)), 17
    )
    return [
        value if number is None else f"{number:.{n_digits}g}"
        for value, number in zip(values, numbers, strict=True)
    ]


def _fewest_apart(means: Sequence[float], fewest: int, most: int) -> int:
    apart = [len({f"{mean:.{n}f}" for mean in means}) for n in range(fewest, most + 1)]
    return fewest + apart.index(apart[-1])


def _are_counts(figures: Sequence[Figure]) -> bool:
    return all(figure.mean.is_integer() and not figure.deviation for figure in figures)


def _text(figure: Figure | None, n_decimals: int, *, counts: bool) -> str:
    if figure is None:
        return "-"
    if not isfinite(figure.mean):
        return "nan"
    mean = f"{figure.mean:,.{n_decimals}f}"
    if figure.deviation is None or counts:
        return mean
    return f"{mean} ± {figure.deviation:,.{n_decimals}f}"


def _place(value: float) -> int:
    """Return the decimal place of the first significant digit of a number: 3 for 0.0042."""
    return -floor(log10(abs(value))) if value else 0


def _leads_with_one(value: float) -> bool:
    return f"{value:e}"[0] == "1"


def _fraction(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and not text.lstrip("-").isdigit() else None
