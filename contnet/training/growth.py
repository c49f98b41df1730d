"""When a network is refined while it trains, and how far."""

from collections.abc import Sequence
from functools import partial

from contnet import arguments
from contnet.ode.basis import Basis

_share = partial(arguments.number, minimum=0, below=1, exclusive=True)
_nodes = partial(arguments.integer, minimum=1)


class Growth:
    """The refinements of a run: at epochs, or at shares of its steps.

    Args:
        epochs: epochs to refine at, in increasing order, counted from 0. Each refinement is one to
            the next finer basis, with twice the steps.
        at: shares of the run's optimizer steps to refine at, in increasing order.
        to: for each share, the number of nodes of every ODE block from there on.
        n_epochs: length of the run.

    Raises:
        ValueError: if an argument is out of range, or both epochs and shares are given.
    """

    def __init__(
        self, epochs: Sequence[int], at: Sequence[float], to: Sequence[int], n_epochs: int
    ) -> None:
        self.epochs = arguments.epochs("epochs", epochs, n_epochs)
        self.at = arguments.increasing("at", at, "shares of the run", _share)
        self.to = arguments.increasing("to", to, "numbers of nodes", _nodes)
        if len(self.at) != len(self.to):
            raise ValueError(
                f"to must have a number of nodes for each share in at, got at={self.at} and "
                f"to={self.to}"
            )
        if self.at and self.epochs:
            raise ValueError(f"epochs must be [] where at is given, got {self.epochs}")

    def __bool__(self) -> bool:
        return bool(self.epochs or self.at)

    @property
    def key(self) -> str:
        """The argument that says how far the network is refined: `to` or `epochs`."""
        return "to" if self.to else "epochs"

    def factor(self, epoch: int) -> int:
        """Return the factor of the steps that the refinements at epochs have reached at `epoch`."""
        return 2 ** sum(refined_at <= epoch for refined_at in self.epochs)

    def n_basis(self, step: int, n_steps: int) -> int:
        """Return the number of nodes that the shares ask for before a step; 0 if none is due.

        Args:
            step: number of optimizer steps that are done.
            n_steps: number of steps of the run.
        """
        # In a short run, a share near 1 would round to its end, when no step follows.
        due = [
            n_basis
            for share, n_basis in zip(self.at, self.to, strict=True)
            if step >= min(round(share * n_steps), n_steps - 1)
        ]
        return due[-1] if due else 0

    def n_doublings(self, refined_by: int) -> int:
        """Return how many doublings at epochs are left once the steps were multiplied so."""
        return max(0, len(self.epochs) - (refined_by.bit_length() - 1))

    def steps_factor(self, basis: Basis, refined_by: int = 1) -> int:
        """Return the factor of the steps of a block over the refinements that are left.

        Args:
            basis: the basis of the block.
            refined_by: the factor by which earlier refinements have multiplied the steps.

        Raises:
            ValueError: if the basis cannot be refined so.
        """
        factor = 1
        for n_basis in self.to or [None] * self.n_doublings(refined_by):
            if n_basis is None or n_basis > basis.n_basis:
                finer = basis.finer(n_basis)
                factor *= basis.factor_to(finer)
                basis = finer
        return factor
