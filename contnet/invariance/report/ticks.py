"""Axes with at least three labelled ticks, whose labels have room."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, log2, log10

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, Locator, MaxNLocator, NullFormatter, NullLocator

from contnet.look import PERCENT, PLAIN

FEWEST = 3
"""Labelled ticks that an axis has at least."""

ENOUGH = 4
"""Labelled ticks that a logarithmic axis has, where round numbers give so many."""

MOST = 7
"""Labelled ticks that a logarithmic axis has at most."""

SUBDIVISIONS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5), (1, 1.5, 2, 3, 4, 5, 7))
"""Leading digits of ticks; the first tuple that gives enough ticks is used."""

LEAST_RANGE = 0.02
"""The smallest range of an axis of accuracies. Less would show noise as if it were large."""


class LogTicks(Locator):
    """Ticks at round numbers of a logarithmic axis, at least three in any range."""

    def __call__(self) -> Sequence[float]:
        """Return the ticks of the present view."""
        assert self.axis is not None
        low, high = self.axis.get_view_interval()
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return the ticks between two positive numbers."""
        low, high = sorted((vmin, vmax))
        decades = range(floor(log10(low)), ceil(log10(high)) + 1)
        for digits in SUBDIVISIONS:
            ticks = [digit * 10.0**decade for decade in decades for digit in digits]
            ticks = [tick for tick in ticks if low <= tick <= high]
            if len(ticks) >= ENOUGH:
                return ticks[:: ceil(len(ticks) / MOST)]
        evenly = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=FEWEST)
        return [tick for tick in evenly.tick_values(low, high) if low <= tick <= high]


def log_axis(ax: Axes, name: str) -> None:
    """Make the axis "x" or "y" logarithmic, with plain numbers at its ticks."""
    getattr(ax, f"set_{name}scale")("log")
    axis = getattr(ax, f"{name}axis")
    axis.set_major_locator(LogTicks())
    axis.set_major_formatter(PLAIN)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def steps_axis(ax: Axes, numbers: Iterable[int], room: int) -> None:
    """Make x an axis of numbers of steps, with ticks at these and with room for `room` labels."""
    wanted = sorted(set(numbers)) or [1]
    while len(wanted) < FEWEST:
        wanted.append(2 * wanted[-1])
    ax.set_xscale("log", base=2)
    margin = (wanted[-1] / wanted[0]) ** 0.06
    ax.set_xlim(wanted[0] / margin, wanted[-1] * margin)
    ax.xaxis.set_major_locator(FixedLocator(_with_room(wanted, room)))
    ax.xaxis.set_major_formatter(PLAIN)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("steps")


def _with_room(numbers: Sequence[int], room: int) -> list[int]:
    """Return those numbers, powers of two first, that are not too near to each other."""
    gap = log2(numbers[-1] / numbers[0]) / room
    chosen: list[int] = []
    for number in sorted(numbers, key=lambda n: (n & (n - 1) != 0, n)):
        if all(abs(log2(number / other)) >= gap for other in chosen):
            chosen.append(number)
    return sorted(chosen) if len(chosen) >= FEWEST else list(numbers)


def accuracy_axis(ax: Axes) -> None:
    """Make y an axis of test accuracies in percent, between 0 and 100, of a range that tells."""
    low, high = ax.get_ylim()
    if high - low < LEAST_RANGE:
        middle = (low + high) / 2
        low, high = middle - LEAST_RANGE / 2, middle + LEAST_RANGE / 2
    beyond = 0.03 * (high - low)
    if high > 1 + beyond:
        low, high = low - max(0, LEAST_RANGE - (1 + beyond - low)), 1 + beyond
    ax.set_ylim(max(low, -beyond), high)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], min_n_ticks=FEWEST))
    ax.yaxis.set_major_formatter(PERCENT)
    ax.set_ylabel("test accuracy (%)")


def finite(values: Iterable[float]) -> list[float]:
    """Return the values that have a place on a logarithmic axis."""
    return [value for value in values if np.isfinite(value) and value > 0]
