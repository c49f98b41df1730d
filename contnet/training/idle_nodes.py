"""Nodes that a manifestation never looks up: few stages may pass many nodes by."""

import logging

from torch import Tensor, nn

from contnet.errors import ConfigError
from contnet.ode.depth_time import DepthTime, depth_time

log = logging.getLogger(__name__)


def check_that_all_nodes_learn(network: nn.Module, world_size: int) -> None:
    """Log a warning if the manifestation of a network leaves out nodes.

    Raises:
        ConfigError: if it does, and there are several processes: DistributedDataParallel would wait
            for the gradients of these nodes.
    """
    depth = depth_time(network)
    for block in depth.blocks if depth else ():
        if not block.unvisited:
            continue
        nodes = ", ".join(map(str, block.unvisited))
        idle = f"{block.scheme.name} in {block.n_time_steps} steps never looks up node {nodes}"
        if world_size > 1:
            raise ConfigError(
                f"scheme must make use of all nodes to train on several devices; {idle}"
            )
        log.warning(
            f"{idle} of the {block.n_basis} with the basis {block.basis.name}: it will not learn"
        )
        return


def zero_of_idle_nodes(depth: DepthTime) -> Tensor | float:
    """Return 0 with a gradient of 0 for each node that the present manifestation never looks up.

    The loss is a mean over manifestations, and in this one such a node has the gradient 0. Without
    a gradient, momentum and weight decay would leave the node out, and DistributedDataParallel
    would wait for it.
    """
    idle = [
        parameter
        for block in depth.blocks
        for k in block.unvisited
        for parameter in block.nodes[k].parameters()
        if parameter.requires_grad
    ]
    return sum((0.0 * parameter.sum() for parameter in idle), start=0.0)
