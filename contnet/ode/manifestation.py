"""A manifestation of a network: the scheme and the number of steps that compute it."""

from dataclasses import dataclass

from contnet.ode.schemes import AdaptiveScheme, Scheme


@dataclass(frozen=True)
class Manifestation:
    """A scheme and its number of steps.

    The number is None for an adaptive scheme, which chooses its own steps. The scheme is None as
    well for a network without depth-time.
    """

    scheme: Scheme | AdaptiveScheme | None
    n_time_steps: int | None = None

    @property
    def name(self) -> str | None:
        """Name of the scheme; None without depth-time."""
        return None if self.scheme is None else self.scheme.name

    @property
    def rtol(self) -> float | None:
        """Relative tolerance of an adaptive scheme; None for other schemes."""
        return self.scheme.rtol if isinstance(self.scheme, AdaptiveScheme) else None

    @property
    def n_f_evals(self) -> int | None:
        """Rate evaluations of an ODE block; None where they depend on the state."""
        if not isinstance(self.scheme, Scheme) or self.n_time_steps is None:
            return None
        return self.scheme.n_stages * self.n_time_steps

    @property
    def effort(self) -> str | None:
        """The setting that decides how accurate the integration is: `4 steps`, or `rtol 0.001`."""
        if self.scheme is None:
            return None
        steps = "1 step" if self.n_time_steps == 1 else f"{self.n_time_steps} steps"
        return steps if self.rtol is None else f"rtol {self.rtol:g}"

    def __str__(self) -> str:
        return "as it is" if self.scheme is None else f"{self.name}, {self.effort}"
