"""The plan of a study: the variants of a network to evaluate, and the questions to judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from torch import nn

from contnet.invariance.manifestation import common, manifestations
from contnet.invariance.recalibration import has_batch_norm
from contnet.ode import statistics
from contnet.ode.bases import make_basis
from contnet.ode.basis import Basis
from contnet.ode.depth_time import depth_time
from contnet.ode.manifestation import Manifestation


@dataclass(frozen=True)
class Variant:
    """One way to evaluate a trained network.

    Args:
        manifestation: the scheme and the number of steps.
        basis: the basis to project theta(t) onto; None leaves it as trained.
        recalibrated: True to gather batch-norm statistics in this manifestation.
    """

    manifestation: Manifestation
    basis: Basis | None = None
    recalibrated: bool = False


@dataclass(frozen=True)
class Plan:
    """The questions that a study asks of a network.

    Args:
        schemes, n_time_steps, rtol: the manifestations; None stands for the value of the network.
        tolerance: the largest loss of an invariant network, in percentage points.
        recalibrate: True to evaluate each variant with recalibrated batch norm as well.
        convergence: True to measure the convergence of the ODE blocks.
        seen: True to evaluate a network that was trained in a set of manifestations on that set,
            where `schemes` and `n_time_steps` are None. One of them alone stands for the values in
            the set.
        n_basis, bases: numbers of nodes, and names of bases, to project onto. If one is None, it
            stands for the value of the network. If both are None, nothing is projected.
    """

    schemes: Sequence[str] | None = None
    n_time_steps: Sequence[int] | None = None
    rtol: Sequence[float] | None = None
    tolerance: float = 1.0
    recalibrate: bool = False
    convergence: bool = True
    n_basis: Sequence[int] | None = None
    bases: Sequence[str] | None = None
    seen: bool = False

    def variants(self, network: nn.Module) -> list[Variant]:
        """List the variants to evaluate, in the order of the table.

        Variants with batch norm as trained come first. Within each of these two parts, theta(t) as
        trained comes first.

        Raises:
            ValueError: if the ODE blocks of the network differ in a setting that the plan leaves to
                the network, or there is no basis that the plan names.
        """
        recalibrations = (False, True) if self.recalibrates(network) else (False,)
        bases = (None, *self.projections(network))
        parts = product(recalibrations, bases, self.manifestations(network))
        return [
            Variant(manifestation, basis, recalibrated)
            for recalibrated, basis, manifestation in parts
        ]

    def manifestations(self, network: nn.Module) -> list[Manifestation]:
        """List the manifestations to evaluate: see `contnet.invariance.manifestation`."""
        seen = statistics.provided(network) if self.seen else ()
        return manifestations(network, self.schemes, self.n_time_steps, self.rtol, seen)

    def projections(self, network: nn.Module) -> list[Basis]:
        """List the bases to project theta(t) onto, without the network's own.

        A network without ODE blocks has none.

        Raises:
            ValueError: if there is no such basis, or the ODE blocks differ in a setting that the
                plan leaves to the network.
        """
        depth = depth_time(network)
        if depth is None or (self.bases is None and self.n_basis is None):
            return []
        names = self.bases or [common("basis", [block.basis.name for block in depth.blocks])]
        numbers = self.n_basis or [common("n_basis", [block.n_basis for block in depth.blocks])]
        bases = dict.fromkeys(
            make_basis(name, n_basis) for name, n_basis in product(names, numbers)
        )
        return [basis for basis in bases if basis != depth.basis]

    def recalibrates(self, network: nn.Module) -> bool:
        """Return True if the plan asks for recalibration, and the network has batch norm."""
        return self.recalibrate and has_batch_norm(network)
