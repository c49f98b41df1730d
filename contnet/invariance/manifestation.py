"""Which graph computes a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import ADAPTIVE_SCHEMES, AdaptiveScheme, Scheme, find_scheme


@dataclass(frozen=True)
class Manifestation:
    """A scheme and its number of steps; adaptive schemes choose their own, networks without depth-time have neither."""

    scheme: Scheme | AdaptiveScheme | None
    n_time_steps: int | None = None

    @classmethod
    def of(cls, network: nn.Module) -> "Manifestation":
        """The one that a network is in."""
        depth = depth_time(network)
        if depth is None:
            return cls(None)
        adaptive = isinstance(depth.scheme, AdaptiveScheme)
        return cls(depth.scheme, None if adaptive else depth.n_time_steps)

    def give(self, network: Any) -> None:
        """Put a network in this manifestation."""
        depth = depth_time(network)
        if self.scheme is not None and depth is not None:
            depth.set_manifestation(self.scheme, self.n_time_steps)

    @property
    def name(self) -> str | None:
        """The scheme's."""
        return None if self.scheme is None else self.scheme.name

    @property
    def rtol(self) -> float | None:
        """An adaptive scheme's relative tolerance."""
        return self.scheme.rtol if isinstance(self.scheme, AdaptiveScheme) else None

    @property
    def effort(self) -> str | None:
        """What sets the accuracy of the integration: `4 steps`, or `rtol 0.001`."""
        if self.scheme is None:
            return None
        steps = "1 step" if self.n_time_steps == 1 else f"{self.n_time_steps} steps"
        return steps if self.rtol is None else f"rtol {self.rtol:g}"

    def __str__(self) -> str:
        return "as it is" if self.scheme is None else f"{self.name}, {self.effort}"


def manifestations(
    network: nn.Module,
    schemes: Sequence[str] | None,
    n_time_steps: Sequence[int] | None,
    rtol: Sequence[float] | None,
) -> list[Manifestation]:
    """Every fixed-step scheme with every number of steps, and every adaptive one with every tolerance (atol = rtol).

    What is None is as the network has it. The manifestation that it is in is always among them, for the others are
    measured by it.
    """
    trained = Manifestation.of(network)
    depth = depth_time(network)
    if trained.scheme is None or depth is None:
        return [trained]
    found: list[Manifestation] = []
    for name in [trained.scheme.name] if schemes is None else schemes:
        same = name == trained.scheme.name
        if name not in ADAPTIVE_SCHEMES:
            scheme = trained.scheme if same else find_scheme(name)
            found += [Manifestation(scheme, n) for n in n_time_steps or [trained.n_time_steps]]
        elif rtol is None:
            found.append(Manifestation(trained.scheme if same else find_scheme(name)))
        else:
            found += [
                Manifestation(find_scheme(name, rtol=tolerance, atol=tolerance))
                for tolerance in rtol
            ]
    return list(dict.fromkeys(found if trained in found else [trained, *found]))
