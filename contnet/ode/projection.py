"""Projection of a trained network onto fewer nodes or another basis, without data or training.

Source: Queiruga et al. 2021 (arXiv 2106.10820), who compress networks in this way.
"""

import copy
from typing import TypeVar

from torch import nn

from contnet.ode.depth_time import depth_time

Network = TypeVar("Network", bound=nn.Module)


def project(network: Network, n_basis: int, basis: str | None = None) -> Network:
    """Return a copy of a network whose ODE blocks have `n_basis` nodes in `basis`.

    theta(t) becomes the function of the new basis that is nearest in the mean square over [0, 1].
    The number of steps stays: see `ODEBlock.project`. The copy is a network like any other: it can
    be trained, refined and saved.

    Args:
        network: any module that contains ODE blocks.
        n_basis: number of nodes of every block.
        basis: a name in `BASES`; by default, the basis that each block has.

    Raises:
        ValueError: if there is no such basis, `gradient` does not work with it, or the network has
            no ODE block.
    """
    projected = copy.deepcopy(network)
    depth = depth_time(projected)
    if depth is None:
        raise ValueError(f"network must have ODE blocks to project, got {type(network).__name__}")
    for block in depth.blocks:
        block.project(n_basis, basis)
    return projected
