"""Runge-Kutta schemes as data.

One step of length h takes the state x(t) of dx/dt = f(t, x) to

    k_i = f(t + c_i h,  x + h sum_{j<i} a_ij k_j),        i = 1 .. n_stages
    x(t + h) = x + h sum_i b_i k_i.

A scheme is the tableau (a, b, c), in exact rationals, and the order that it claims. It proves the
claim when it is made: see `contnet.ode.order_conditions`. An adaptive scheme is an embedded pair of
two schemes, or a solver of torchdiffeq, with the tolerances by which it chooses its steps.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from contnet import arguments
from contnet.ode.embedded import EmbeddedPair
from contnet.ode.pairs import PAIRS
from contnet.ode.solvers import SOLVERS, Solver
from contnet.ode.tableau import (
    HIGHEST_ORDER,
    Rational,
    Tableau,
    check_explicit,
    check_order,
    explicit,
    fractions,
    hold_fractions,
)


@dataclass(frozen=True)
class Scheme:
    """An explicit Runge-Kutta scheme with a fixed step.

    `a[i]` holds the i weights of stage i (strictly lower triangle), `b` the weights of the update,
    and `c` the times of the stages in units of the step. They are kept as fractions: a time that
    was rounded may lie on the wrong side of a knot.

    Raises:
        ValueError: if the order is not from 1 to 5, the shapes disagree, a row of `a` does not sum
            to its `c`, a stage lies outside of its step, or an order condition fails.
    """

    name: str
    order: int
    a: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]
    c: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        if type(self.order) is not int or not 1 <= self.order <= HIGHEST_ORDER:
            raise ValueError(
                f"scheme {self.name}: order must be a whole number from 1 to {HIGHEST_ORDER}, "
                f"got {self.order!r}"
            )
        hold_fractions(self, "b", "c")
        check_explicit(self.name, self.a, [self.b], self.c)
        check_order(self.name, self.a, self.b, self.order)

    def __hash__(self) -> int:
        # Of the name alone: a hash of all the fractions would take longer than a step.
        return hash(self.name)

    @property
    def n_stages(self) -> int:
        """Rate evaluations in one step."""
        return len(self.b)

    @property
    def tableau(self) -> Tableau:
        """The weights (a, b, c), which make the scheme what it is under any name."""
        return self.a, self.b, self.c


MOST_STEPS = 4096
"""Steps of an adaptive scheme on an interval. With more, the tolerance is below rounding errors."""


CONTROLS = ("batch", "image")
"""What the steps of an adaptive scheme are chosen for."""


@dataclass(frozen=True)
class AdaptiveScheme:
    """A scheme that chooses its steps so that the estimated error of each stays in bounds.

    The bound is rtol |x| + atol. On each interval on which theta is smooth, the scheme takes at
    most `max_num_steps` steps, among them those that are rejected. Solvers of torchdiffeq use those
    of the arguments that they have.

    Args:
        method: an embedded pair, or a solver of torchdiffeq.
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_num_steps: see above.
        control: `batch` bounds the root mean square of the error over the batch; `image` bounds
            that of each image, so that no image is computed worse for its neighbours.

    Raises:
        ValueError: if the method is neither, or a tolerance or the number of steps is not positive.
    """

    method: EmbeddedPair | Solver
    rtol: float = 1e-4
    atol: float = 1e-4
    max_num_steps: int = MOST_STEPS
    control: str = "batch"

    def __post_init__(self) -> None:
        if not isinstance(self.method, EmbeddedPair | Solver):
            raise ValueError(
                "method must be an embedded pair or a solver of torchdiffeq, such as "
                f'ADAPTIVE_SCHEMES["dopri5"].method, got {self.method!r}'
            )
        arguments.number("rtol", self.rtol, minimum=0, exclusive=True)
        arguments.number("atol", self.atol, minimum=0, exclusive=True)
        arguments.integer("max_num_steps", self.max_num_steps, minimum=1)
        arguments.one_of("control", self.control, CONTROLS)

    @property
    def name(self) -> str:
        """Name of the scheme."""
        return self.method.name

    @property
    def order(self) -> int:
        """Order of the solution that a step goes on with."""
        return self.method.order

    @property
    def has_gradient(self) -> bool:
        """True if a gradient flows back through its steps."""
        return isinstance(self.method, EmbeddedPair) or self.method.has_gradient


def _scheme(name: str, order: int, a: list[list[Rational]], b: list[Rational]) -> Scheme:
    rows, c = explicit(a)
    return Scheme(name, order, a=rows, b=fractions(b), c=c)


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        _scheme("euler", 1, a=[[]], b=[1]),
        _scheme("midpoint", 2, a=[[], ["1/2"]], b=[0, 1]),
        _scheme("heun2", 2, a=[[], [1]], b=["1/2", "1/2"]),
        _scheme("ralston2", 2, a=[[], ["2/3"]], b=["1/4", "3/4"]),
        _scheme("heun3", 3, a=[[], ["1/3"], [0, "2/3"]], b=["1/4", 0, "3/4"]),
        # The 3/8 rule, under the name that torchdiffeq gives it.
        _scheme("rk4", 4, a=[[], ["1/3"], ["-1/3", 1], [1, -1, 1]], b=["1/8", "3/8", "3/8", "1/8"]),
        _scheme(
            "rk4_classic", 4, a=[[], ["1/2"], [0, "1/2"], [0, 0, 1]], b=["1/6", "1/3", "1/3", "1/6"]
        ),
    )
}
"""The fixed-step schemes, by name."""

ADAPTIVE_SCHEMES: dict[str, AdaptiveScheme] = {
    name: AdaptiveScheme(pair) for name, pair in PAIRS.items()
}
"""The adaptive schemes, which are embedded pairs, by name, with default tolerances."""

TORCHDIFFEQ_SCHEMES: dict[str, AdaptiveScheme] = {
    solver.name: AdaptiveScheme(solver) for solver in SOLVERS
}
"""The solvers of torchdiffeq as schemes, by name, with default tolerances."""

OTHER_NAMES = {"adaptive_heun": "heun_euler"}
"""Names of schemes that are known by another one."""


def scheme_names() -> list[str]:
    """Return all names by which a scheme can be chosen."""
    return [*SCHEMES, *ADAPTIVE_SCHEMES, *TORCHDIFFEQ_SCHEMES, *OTHER_NAMES]


def find_scheme(
    name: str, rtol: float | None = None, atol: float | None = None
) -> Scheme | AdaptiveScheme:
    """Return the scheme called `name`, with tolerances if they are given.

    Raises:
        ValueError: if there is no such scheme, a tolerance is not positive, or one is given for a
            scheme that takes fixed steps.
    """
    arguments.one_of("scheme", name, scheme_names())
    schemes: dict[str, Scheme | AdaptiveScheme] = {
        **SCHEMES,
        **ADAPTIVE_SCHEMES,
        **TORCHDIFFEQ_SCHEMES,
    }
    return with_tolerances(schemes[OTHER_NAMES.get(name, name)], rtol, atol)


def find_scheme_after(present: Scheme | AdaptiveScheme, name: str) -> Scheme | AdaptiveScheme:
    """Return the scheme called `name`, to take the place of the present one.

    If both adapt, it has the control and the limit of steps of the present one.

    Raises:
        ValueError: if there is no such scheme.
    """
    scheme = find_scheme(name)
    if isinstance(present, AdaptiveScheme) and isinstance(scheme, AdaptiveScheme):
        return replace(scheme, control=present.control, max_num_steps=present.max_num_steps)
    return scheme


def with_tolerances(
    scheme: Scheme | AdaptiveScheme,
    rtol: float | None,
    atol: float | None,
    max_num_steps: int | None = None,
    control: str | None = None,
) -> Scheme | AdaptiveScheme:
    """Return a scheme with other tolerances; one that is None stays as it is.

    Raises:
        ValueError: if it is no scheme, `AdaptiveScheme` refuses a value, or one is given for a
            scheme that takes fixed steps.
    """
    if not isinstance(scheme, Scheme | AdaptiveScheme):
        raise ValueError(f"scheme must be the name of a scheme, or a scheme, got {scheme!r}")
    limits = {"rtol": rtol, "atol": atol, "max_num_steps": max_num_steps, "control": control}
    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    if isinstance(scheme, AdaptiveScheme):
        return replace(scheme, **given)
    for name, value in given.items():
        raise ValueError(
            f"{name} must be left out with the scheme {scheme.name}, which takes fixed steps, "
            f"got {value!r}"
        )
    return scheme
