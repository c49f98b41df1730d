"""The depth-time of a network: the ODE blocks that it contains, seen as one.

The rest of the program uses this view, and never tests for a class of network. So any `nn.Module`
that contains ODE blocks can be trained, refined, resized, swept and projected.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import TypeVar

from torch import nn

from contnet import arguments
from contnet.ode import statistics
from contnet.ode.adaptive import Effort
from contnet.ode.basis import Basis
from contnet.ode.block import ODEBlock
from contnet.ode.manifestation import Manifestation
from contnet.ode.norms import modules
from contnet.ode.refinement import Origin, Refinement
from contnet.ode.schemes import AdaptiveScheme, Scheme
from contnet.ode.settings import Settings

Value = TypeVar("Value")


@dataclass(frozen=True)
class Depth:
    """The depth of one ODE block, in plain values: its nodes, its steps and its refinements.

    Args:
        basis: the name of the basis.
        n_basis: number of nodes.
        n_time_steps: equal steps over [0, 1].
        refined_by: the factor by which refinements have multiplied the steps.
        grown_by: the factor by which refinements have multiplied epsilon.
    """

    basis: str
    n_basis: int
    n_time_steps: int
    refined_by: int = 1
    grown_by: int = 1


@dataclass(frozen=True)
class DepthTime:
    """The ODE blocks of a network, in the order in which it registers them.

    A setting is None if the blocks differ in it.

    Args:
        blocks: the ODE blocks.
        network: the network. Its norms may keep statistics of several manifestations, inside the
            blocks and outside: see `contnet.ode.statistics`.
    """

    blocks: tuple[ODEBlock, ...]
    network: nn.Module

    @property
    def scheme(self) -> Scheme | AdaptiveScheme | None:
        """The scheme that integrates every block."""
        return _common([block.scheme for block in self.blocks])

    @property
    def is_adaptive(self) -> bool:
        """True if the scheme of a block chooses its own steps."""
        return any(isinstance(block.scheme, AdaptiveScheme) for block in self.blocks)

    @property
    def n_time_steps(self) -> int | None:
        """Steps that a fixed-step scheme takes through every block."""
        return _common([block.n_time_steps for block in self.blocks])

    @property
    def manifestation(self) -> Manifestation | None:
        """The scheme and the number of steps that compute every block."""
        return _common([block.settings.manifestation for block in self.blocks])

    @property
    def basis(self) -> Basis | None:
        """The basis of every block's theta(t)."""
        return _common([block.basis for block in self.blocks])

    @property
    def n_basis(self) -> int | None:
        """Nodes of every block."""
        return _common([block.n_basis for block in self.blocks])

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations of the last forward pass, over all blocks."""
        return self.effort.n_f_evals

    @property
    def effort(self) -> Effort:
        """Rate evaluations and adaptive steps of the last forward pass, over all blocks."""
        return sum((block.effort for block in self.blocks), Effort())

    @property
    def refined_by(self) -> int:
        """The factor by which refinements have multiplied the steps of every block."""
        return min(block.refined_by for block in self.blocks)

    @property
    def depths(self) -> tuple[Depth, ...]:
        """The depth of each block."""
        return tuple(
            Depth(
                block.basis.name,
                block.n_basis,
                block.n_time_steps,
                block.refined_by,
                block.grown_by,
            )
            for block in self.blocks
        )

    def coarser_than(self, n_basis: int | None) -> list[ODEBlock]:
        """Return the blocks of fewer nodes, which `refine` concerns: all if no number is given."""
        return [block for block in self.blocks if n_basis is None or block.n_basis < n_basis]

    def refine(self, n_basis: int | None = None, *, grow: bool = False) -> list[Origin]:
        """Refine every block, and return the origin of each parameter: see `ODEBlock.refine`.

        A block that has `n_basis` nodes or more stays as it is.

        Raises:
            ValueError: if a block cannot be refined so; all blocks are then unchanged.
        """
        if n_basis is not None:
            arguments.integer("n_basis", n_basis, minimum=1)
        blocks = self.coarser_than(n_basis)
        for block in blocks:
            Refinement.of(block.basis, block.nodes[0], n_basis, grow=grow)
        statistics.keep(self.network, self.manifestation)
        origins = [origin for block in blocks for origin in block.refine(n_basis, grow=grow)]
        statistics.take(self.network, self.manifestation)
        return origins

    def resize(self, depths: tuple[Depth, ...]) -> None:
        """Resize each block to a depth, so that weights of that depth fit: see `ODEBlock.resize`.

        Raises:
            ValueError: if a depth does not suit the settings of its block, or there are more or
                fewer depths than blocks.
        """
        if len(depths) != len(self.blocks):
            raise ValueError(
                f"depths must be {len(self.blocks)}, one for each ODE block, got {len(depths)}"
            )
        for block, depth in zip(self.blocks, depths, strict=True):
            block.resize(*astuple(depth))

    def set_manifestation(
        self,
        scheme: str | Scheme | AdaptiveScheme | None = None,
        n_time_steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> None:
        """Compute the network by another graph: see `ODEBlock.set_manifestation`.

        Raises:
            ValueError: if a block refuses the settings; all blocks are then unchanged.
        """
        settings = [
            block.settings.manifested(scheme, n_time_steps, rtol, atol) for block in self.blocks
        ]
        self._adopt(settings)

    @contextmanager
    def manifested(self, manifestation: Manifestation) -> Iterator[None]:
        """Compute the network in a manifestation within the context, and as before afterwards.

        Raises:
            ValueError: if a block refuses it; all blocks are then unchanged.
        """
        before = [block.settings for block in self.blocks]
        self.set_manifestation(manifestation.scheme, manifestation.n_time_steps)
        try:
            yield
        finally:
            self._adopt(before)

    def _adopt(self, settings: Sequence[Settings]) -> None:
        before = self.manifestation
        for block, new in zip(self.blocks, settings, strict=True):
            block.adopt(new)
        statistics.exchange(self.network, before, self.manifestation)


def depth_time(network: nn.Module) -> DepthTime | None:
    """Return the depth-time of a network, or None for a network without ODE blocks."""
    blocks = tuple(module for module in modules(network) if isinstance(module, ODEBlock))
    return DepthTime(blocks, network) if blocks else None


def _common(values: list[Value]) -> Value | None:
    return values[0] if all(value == values[0] for value in values) else None
