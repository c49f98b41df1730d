"""The parts of the kit, in the order in which they are run.

The first ones are short, and say whether the figures of the others mean anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from benchmarks.gpu.outcome import Outcome
from benchmarks.gpu.settings import Settings


@dataclass(frozen=True)
class Part:
    """A check or measurement that runs in a process of its own.

    Args:
        name: the name of the part and of its file.
        module: the module of this package with the function.
        function: maps `Settings` to an `Outcome`.
        minutes: the time that it is given on an H100: an estimate, as nobody has run it there.
        minutes_with_images: the same where images are given, if that differs.
        needs_cuda: it does nothing without CUDA.
        arguments: further arguments of the function.
    """

    name: str
    module: str
    function: str
    minutes: float
    minutes_with_images: float | None = None
    needs_cuda: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """Import the module, and return the function."""
        return getattr(import_module(f"{__package__}.{self.module}"), self.function)

    def run(self, settings: Settings) -> Outcome:
        """Return what the part finds."""
        outcome: Outcome = self.load()(settings, **self.arguments)
        return outcome

    def needs_minutes(self, settings: Settings) -> float:
        """Return the minutes that must be left for the part to begin."""
        if settings.quick:
            return 0.0
        if settings.images is not None and self.minutes_with_images is not None:
            return self.minutes_with_images
        return self.minutes


PARTS = (
    Part("correctness", "correctness", "of_fixed_steps", 1.5),
    Part("correctness-adaptive", "correctness", "of_adaptive_steps", 1.5),
    Part("synchronisation", "synchronisation", "of_steps", 1.5),
    Part("synchronisation-training", "training", "of_waits", 0.5),
    Part("other-graphs", "training", "of_other_graphs", 0.5),
    Part("resume", "training", "of_resumed_runs", 1.5, arguments={"compiled": False}),
    Part("steps", "steps", "of_libraries", 3),
    Part("graphs-euler", "graphs", "of_network", 1.5, arguments={"name": "euler"}),
    Part("epochs", "epochs", "of_images", 1.5, arguments={"on_device": True}),
    Part("epochs-loader", "epochs", "of_images", 2, arguments={"on_device": False}),
    Part("row-euler", "rows", "of_row", 1.5, 4, arguments={"name": "euler"}),
    Part("row-rk4", "rows", "of_row", 2.5, 7.5, arguments={"name": "rk4"}),
    Part("memory", "steps", "of_memory", 0.5),
    Part("batches", "steps", "of_batch_sizes", 1, arguments={"compiled": False}),
    *(
        Part(f"graphs-{name}", "graphs", "of_network", 3, None, True, {"name": name})
        for name in ("rk4", "deep", "linear")
    ),
    Part("batches-compiled", "steps", "of_batch_sizes", 4, None, True, {"compiled": True}),
    Part("resume-compiled", "training", "of_resumed_runs", 6, None, True, {"compiled": True}),
)
"""All parts."""
