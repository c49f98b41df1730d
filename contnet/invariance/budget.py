"""The dial for deployment: which manifestation and projection to use, given what may be spent or lost."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contnet.invariance.result import Figures, Result, measured

CONDITION = re.compile(
    r"(?:(latency|parameters)<=(\d+(?:\.\d+)?)x|(accuracy)>=([+-]?\d+(?:\.\d+)?)pp)"
)


@dataclass(frozen=True)
class Budget:
    """Bounds relative to the network as trained: factors of its latency and of its parameters, percentage points of
    its accuracy."""

    latency: float | None = None
    parameters: float | None = None
    accuracy: float | None = None

    @classmethod
    def parse(cls, conditions: Sequence[str]) -> "Budget":
        """From conditions as they are typed.

        Raises:
            ValueError: if one is not like latency<=0.5x, parameters<=0.5x or accuracy>=-0.5pp.
        """
        bounds: dict[str, float] = {}
        for condition in conditions:
            match = CONDITION.fullmatch(str(condition).replace(" ", ""))
            if match is None:
                raise ValueError(
                    f"budget must be like latency<=0.5x, parameters<=0.5x or accuracy>=-0.5pp, got {condition!r}"
                )
            factor, points = match[2], match[4]
            bounds |= {match[1]: float(factor)} if match[1] else {"accuracy": float(points)}
        return cls(**bounds)

    def __str__(self) -> str:
        latency = None if self.latency is None else f"latency<={self.latency:g}x"
        parameters = None if self.parameters is None else f"parameters<={self.parameters:g}x"
        accuracy = None if self.accuracy is None else f"accuracy>={self.accuracy:g}pp"
        return ", ".join(filter(None, (latency, parameters, accuracy)))

    def choose(self, trained: Result, results: Iterable[Result]) -> tuple[Result, Figures] | None:
        """The quickest of the results that meet the bounds; with none on accuracy, the most accurate of those that do,
        since the quickest would be one that classifies nothing."""
        ((_, base),) = measured([trained])
        affordable = [
            result
            for result in results
            if self.parameters is None or result.parameters <= self.parameters * trained.parameters
        ]
        meeting = [(result, own) for result, own in measured(affordable) if self._is_met(own, base)]
        if self.accuracy is None:
            return max(meeting, key=lambda one: (one[1].accuracy, -one[1].latency_ms), default=None)
        return min(meeting, key=lambda one: one[1].latency_ms, default=None)

    def _is_met(self, own: Figures, trained: Figures) -> bool:
        quick = self.latency is None or own.latency_ms <= self.latency * trained.latency_ms
        # Accuracies are float32: a difference of ten-thousandths of a point is rounding.
        return quick and (
            self.accuracy is None or 100 * (own.accuracy - trained.accuracy) >= self.accuracy - 1e-4
        )
