"""A trained network in fewer nodes, or in another basis, without data and without training.

Queiruga et al. 2021 (arXiv 2106.10820) compress networks in this way: theta(t) is projected onto the new basis.
"""

import copy
from typing import TypeVar

from torch import nn

from contnet.ode.block import ODEBlock

Network = TypeVar("Network", bound=nn.Module)


def project(network: Network, n_basis: int, basis: str | None = None) -> Network:
    """A copy of a network in which every ODE block has `n_basis` nodes in `basis`, or in the basis that it is in.

    theta(t) becomes the nearest in the mean square over [0, 1] that the new basis holds, and the steps stay as they
    are: see `ODEBlock.project`. The result is a network like any other: it trains, refines and saves.

    Raises:
        ValueError: if there is no such basis, `gradient` cannot do with it, or the network has no ODE block.
    """
    projected = copy.deepcopy(network)
    blocks = [module for module in projected.modules() if isinstance(module, ODEBlock)]
    if not blocks:
        raise ValueError(f"network must have ODE blocks to project, got {type(network).__name__}")
    for block in blocks:
        block.project(n_basis, basis)
    return projected
