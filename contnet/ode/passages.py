"""The passages of an ODE block, which are made once for each of its settings.

A network that changes its manifestation from batch to batch comes back to the same few.
"""

from collections.abc import Callable

from torch import Tensor

from contnet.ode.integrate import FixedGrid
from contnet.ode.passage import Passage
from contnet.ode.settings import Settings

MOST_KEPT = 64
"""Passages that are kept. Each holds its steps, and no weights."""


class Passages:
    """Makes passages, and keeps them. `step` is `FixedGrid.step`, or the same compiled."""

    def __init__(self, step: Callable[..., Tensor] = FixedGrid.step) -> None:
        self._step = step
        self._kept: dict[Settings, Passage] = {}

    def of(self, settings: Settings) -> Passage:
        """Return the passage for settings."""
        if settings in self._kept:
            return self._kept[settings]
        made = Passage(settings, self._step)
        if made.grid is not None:  # one of an adaptive scheme counts its evaluations anew
            if len(self._kept) == MOST_KEPT:
                self._kept.clear()
            self._kept[settings] = made
        return made
