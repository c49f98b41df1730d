"""The solvers of torchdiffeq that become schemes, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Solver:
    """A solver of torchdiffeq, by its name there and its order.

    One without a gradient computes outside of PyTorch: its gradient is that of the adjoint.
    """

    method: str
    order: int
    has_gradient: bool = True

    @property
    def name(self) -> str:
        """Name of the scheme that it makes."""
        return f"torchdiffeq/{self.method}"


SOLVERS = (
    Solver("dopri5", 5),
    Solver("dopri8", 8),
    Solver("bosh3", 3),
    Solver("fehlberg2", 2),
    Solver("adaptive_heun", 2),
    Solver("explicit_adams", 4),  # the order of its first steps, which take equal lengths
    Solver("implicit_adams", 4),
    Solver("scipy_solver", 12, has_gradient=False),  # SciPy's LSODA, of varying order
)
"""Solvers of torchdiffeq that become schemes. The two of Adams' methods take equal steps."""
