"""The settings of an ODE block, which say how x(1) is computed from its nodes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

from contnet import arguments
from contnet.ode.basis import Basis
from contnet.ode.embedded import EmbeddedPair
from contnet.ode.gradient import GRADIENTS, check_adjoint
from contnet.ode.integrate import FixedGrid, fixed_grid
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import (
    AdaptiveScheme,
    Scheme,
    find_scheme_after,
    with_tolerances,
)


@dataclass(frozen=True)
class Settings:
    """The settings of an ODE block; a change makes a new object, which is checked as a whole.

    Args:
        basis: the basis of theta(t).
        scheme: the scheme that integrates the block.
        n_time_steps: equal steps over [0, 1], for a scheme with fixed steps.
        epsilon: factor of the rate.
        gradient: a name in `contnet.ode.gradient.GRADIENTS`.

    Raises:
        ValueError: if a setting is out of range, or `gradient` does not work with the others.
    """

    basis: Basis
    scheme: Scheme | AdaptiveScheme
    n_time_steps: int
    epsilon: float
    gradient: str

    def __post_init__(self) -> None:
        arguments.one_of("gradient", self.gradient, GRADIENTS)
        arguments.number("epsilon", self.epsilon, minimum=0, exclusive=True)
        arguments.integer("n_time_steps", self.n_time_steps, minimum=1)
        if self.gradient == "adjoint":
            check_adjoint(self.scheme, self.basis, self.n_time_steps)

    @property
    def manifestation(self) -> Manifestation:
        """The scheme, and the number of steps if it has fixed ones."""
        return Manifestation(
            self.scheme, self.n_time_steps if isinstance(self.scheme, Scheme) else None
        )

    @property
    def grid(self) -> FixedGrid | None:
        """The steps of a scheme with fixed steps; None for an adaptive one."""
        if not isinstance(self.scheme, Scheme):
            return None
        return fixed_grid(self.scheme, self.n_time_steps, self.basis, self.epsilon)

    @property
    def by_pair(self) -> bool:
        """True if the steps are chosen by an embedded pair."""
        scheme = self.scheme
        return isinstance(scheme, AdaptiveScheme) and isinstance(scheme.method, EmbeddedPair)

    def checked_times(self, times: Iterable[float]) -> list[float]:
        """Return the times at which states are asked for, as numbers.

        Raises:
            ValueError: if they are not in [0, 1] and in order, or the steps are not chosen by an
                embedded pair.
        """
        if not self.by_pair or self.gradient == "adjoint":
            raise ValueError(
                "times must be left out, except with an embedded pair and without "
                f"gradient=adjoint; the scheme is {self.scheme.name}"
            )
        given = list(times)
        try:
            numbers = [float(time) for time in given]
        except (TypeError, ValueError) as error:
            raise ValueError(f"times must be numbers from 0 to 1, got {given!r}") from error
        if not numbers or any(not a <= b for a, b in pairwise((0.0, *numbers, 1.0))):
            raise ValueError(f"times must be from 0 to 1 in ascending order, got {numbers!r}")
        return numbers

    def manifested(
        self,
        scheme: str | Scheme | AdaptiveScheme | None,
        n_time_steps: int | None,
        rtol: float | None,
        atol: float | None,
    ) -> Self:
        """Return the settings with another scheme, number of steps or tolerances.

        What is None stays as it is.

        Raises:
            ValueError: see `ODEBlock.set_manifestation`.
        """
        found = scheme or self.scheme
        if isinstance(found, str):
            found = find_scheme_after(self.scheme, found)
        return replace(
            self,
            scheme=with_tolerances(found, rtol, atol),
            n_time_steps=self.n_time_steps if n_time_steps is None else n_time_steps,
        )
