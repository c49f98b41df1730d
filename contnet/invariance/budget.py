"""The budget of a deployment: which variant of a network to use, given limits on cost and loss."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contnet.invariance.result import Figures, Result, measured

CONDITION = re.compile(
    r"(?:(latency|parameters)<=(\d+(?:\.\d+)?)x|(accuracy)>=([+-]?\d+(?:\.\d+)?)pp)"
)

ROUNDING = 1e-4
"""Accuracies are float32: a difference of this many percentage points is rounding."""


@dataclass(frozen=True)
class Budget:
    """Limits relative to the network as trained; None where there is no limit.

    Args:
        latency: the largest factor of its latency.
        parameters: the largest factor of its number of parameters.
        accuracy: the smallest change of its accuracy, in percentage points; negative for a loss.
    """

    latency: float | None = None
    parameters: float | None = None
    accuracy: float | None = None

    @classmethod
    def parse(cls, conditions: Sequence[str]) -> "Budget":
        """Return the budget that conditions such as `latency<=0.5x` describe.

        Raises:
            ValueError: if a condition is not like latency<=0.5x, parameters<=0.5x or
                accuracy>=-0.5pp.
        """
        limits: dict[str, float] = {}
        for condition in conditions:
            match = CONDITION.fullmatch(str(condition).replace(" ", ""))
            if match is None:
                raise ValueError(
                    "budget must be like latency<=0.5x, parameters<=0.5x or accuracy>=-0.5pp, "
                    f"got {condition!r}"
                )
            factor, points = match[2], match[4]
            limits |= {match[1]: float(factor)} if match[1] else {"accuracy": float(points)}
        return cls(**limits)

    def __str__(self) -> str:
        latency = None if self.latency is None else f"latency<={self.latency:g}x"
        parameters = None if self.parameters is None else f"parameters<={self.parameters:g}x"
        accuracy = None if self.accuracy is None else f"accuracy>={self.accuracy:g}pp"
        return ", ".join(filter(None, (latency, parameters, accuracy)))

    def choose(self, trained: Result, results: Iterable[Result]) -> tuple[Result, Figures] | None:
        """Return the result to use, with its figures, or None if no result is within the budget.

        If the budget limits accuracy, the quickest result is chosen. If it does not, the most
        accurate one is, because the quickest might be no better than chance.
        """
        ((_, base),) = measured([trained])
        small = [
            result
            for result in results
            if self.parameters is None or result.parameters <= self.parameters * trained.parameters
        ]
        within = [one for one in measured(small) if self._allows(one[1], base)]
        if self.accuracy is None:
            return max(within, key=lambda one: (one[1].accuracy, -one[1].latency_ms), default=None)
        return min(within, key=lambda one: one[1].latency_ms, default=None)

    def _allows(self, figures: Figures, trained: Figures) -> bool:
        if self.latency is not None and figures.latency_ms > self.latency * trained.latency_ms:
            return False
        gain = 100 * (figures.accuracy - trained.accuracy)
        return self.accuracy is None or gain >= self.accuracy - ROUNDING
