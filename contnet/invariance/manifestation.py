"""The manifestation of a network: the scheme and the number of steps that compute it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import ADAPTIVE_SCHEMES, AdaptiveScheme, Scheme, find_scheme

Value = TypeVar("Value")


@dataclass(frozen=True)
class Manifestation:
    """A scheme and its number of steps.

    The number is None for an adaptive scheme, which chooses its own steps. The scheme is None as
    well for a network without depth-time.
    """

    scheme: Scheme | AdaptiveScheme | None
    n_time_steps: int | None = None

    @classmethod
    def of(cls, network: nn.Module) -> "Manifestation":
        """Return the present manifestation of a network.

        Raises:
            ValueError: if its ODE blocks differ in scheme or number of steps.
        """
        depth = depth_time(network)
        if depth is None:
            return cls(None)
        found = [_manifestation(block.scheme, block.n_time_steps) for block in depth.blocks]
        if any(one != found[0] for one in found):
            raise ValueError(
                "ODE blocks must have one scheme and one number of steps to be swept, got "
                f"{'; '.join(map(str, found))} (such a network can be trained and refined)"
            )
        return found[0]

    def apply(self, network: nn.Module) -> None:
        """Set the scheme and the number of steps of a network; its weights do not change.

        A network without depth-time has one manifestation, and is not changed.

        Raises:
            ValueError: if an ODE block refuses it: see `ODEBlock.set_manifestation`.
        """
        depth = depth_time(network)
        if self.scheme is not None and depth is not None:
            depth.set_manifestation(self.scheme, self.n_time_steps)

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Apply this manifestation within the context, and restore the earlier one afterwards."""
        depth = depth_time(network)
        blocks = depth.blocks if depth else ()
        before = [(block, block.scheme, block.n_time_steps) for block in blocks]
        try:
            self.apply(network)
            yield
        finally:
            for block, scheme, n_time_steps in before:
                block.set_manifestation(scheme, n_time_steps)

    @property
    def name(self) -> str | None:
        """Name of the scheme; None without depth-time."""
        return None if self.scheme is None else self.scheme.name

    @property
    def rtol(self) -> float | None:
        """Relative tolerance of an adaptive scheme; None for other schemes."""
        return self.scheme.rtol if isinstance(self.scheme, AdaptiveScheme) else None

    @property
    def effort(self) -> str | None:
        """The setting that decides how accurate the integration is: `4 steps`, or `rtol 0.001`."""
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
    """List the manifestations that a sweep evaluates, each once.

    They are every fixed-step scheme with every number of steps, and every adaptive scheme with
    every tolerance (atol = rtol). The present manifestation of the network is always among them:
    the others are compared with it.

    Args:
        network: any module; without ODE blocks it has its present manifestation alone.
        schemes: names of schemes; None stands for the scheme of the network.
        n_time_steps: numbers of steps; None stands for the number that the network has.
        rtol: relative tolerances; None stands for the network's, or for the default of a scheme
            that is not the network's.

    Raises:
        ValueError: if the ODE blocks of the network differ in scheme or number of steps.
    """
    trained = Manifestation.of(network)
    depth = depth_time(network)
    if trained.scheme is None or depth is None:
        return [trained]
    found: list[Manifestation] = []
    for name in [trained.scheme.name] if schemes is None else schemes:
        scheme = trained.scheme if name == trained.scheme.name else find_scheme(name)
        if name not in ADAPTIVE_SCHEMES:
            # Blocks may differ in their number of steps as long as only adaptive schemes are swept.
            steps = [block.n_time_steps for block in depth.blocks]
            numbers = n_time_steps or [common("n_time_steps", steps)]
            found += [Manifestation(scheme, n) for n in numbers]
        elif rtol is None:
            found.append(Manifestation(scheme))
        else:
            found += [Manifestation(find_scheme(name, rtol=r, atol=r)) for r in rtol]
    return list(dict.fromkeys(found if trained in found else [trained, *found]))


def common(setting: str, values: Sequence[Value]) -> Value:
    """Return the value that a setting has in every ODE block.

    Raises:
        ValueError: if the blocks differ; then the plan has to set the value.
    """
    if any(value != values[0] for value in values):
        raise ValueError(
            f"{setting} must be given for a network whose ODE blocks differ in it, "
            f"here {', '.join(map(str, values))}"
        )
    return values[0]


def _manifestation(scheme: Scheme | AdaptiveScheme, n_time_steps: int) -> Manifestation:
    return Manifestation(scheme, None if isinstance(scheme, AdaptiveScheme) else n_time_steps)
