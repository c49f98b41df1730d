"""How a network is compiled for training."""

from typing import Any

import torch
from torch import nn

from contnet.ode.block import ODEBlock
from contnet.ode.depth_time import depth_time


def compile_network(
    network: nn.Module, device: torch.device, accumulate_grad_batches: int, *, in_parts: bool
) -> None:
    """Compile a network at its present depth.

    Args:
        network: the network.
        device: the device that it is on.
        accumulate_grad_batches: batches whose gradients are added up.
        in_parts: compile the rates of the ODE blocks, and the modules between them. They are the
            same in every manifestation, so that none needs a compilation of its own.
    """
    # Without a reset each depth would count against the limit of recompilations.
    torch.compiler.reset()
    options = how_to_compile(network, device, accumulate_grad_batches)
    if in_parts:
        _compile_parts(network, options)
    else:
        network.compile(**options)


def _compile_parts(module: nn.Module, options: dict[str, Any]) -> None:
    if isinstance(module, ODEBlock):
        if not module.basis.combines:  # sums of nodes are modules of each manifestation
            for node in module.nodes:
                node.compile(**options)
    elif isinstance(module, nn.ModuleList | nn.ModuleDict) or depth_time(module) is not None:
        for child in module.children():
            _compile_parts(child, options)
    else:
        module.compile(**options)


def how_to_compile(
    network: nn.Module, device: torch.device, accumulate_grad_batches: int = 1
) -> dict[str, Any]:
    """Return the arguments of `torch.compile` for training: CUDA graphs on a GPU, where possible.

    Each run of a CUDA graph overwrites the gradients and states of its last run. So gradients can
    be neither accumulated nor computed with recomputed states.
    """
    depth = depth_time(network)
    gradients = {block.gradient for block in depth.blocks} if depth else set()
    as_graphs = device.type == "cuda" and accumulate_grad_batches == 1 and gradients <= {"backprop"}
    return {"dynamic": False, "mode": "reduce-overhead" if as_graphs else None}
