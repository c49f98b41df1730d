"""Nodes that can be summed: copies of one module that differ in their parameters alone.

A basis that combines nodes computes with sums of their parameters and of the statistics of their
norms. Of all else that a node holds, the first node's is used. So all else must be equal: masks and
tables of positions are, quantized weights are not. A buffer that the rate updates is the first
node's as well, and is copied to the others at the end of each pass.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from contnet.ode.norms import named_statistics


def summable(tensor: Tensor) -> bool:
    """Return True if weighted sums of such tensors are of the same type."""
    return tensor.is_floating_point() or tensor.is_complex()


def check_alike(nodes: Sequence[nn.Module], basis: str) -> None:
    """Check that nodes can be summed; `basis` is the name of the basis that has to.

    Raises:
        ValueError: if nodes differ in the names or shapes of parameters, or in anything that is
            neither a parameter nor a statistic of a norm.
    """
    first = nodes[0]
    shapes, constants = _shapes(first), dict(_constants(first))
    for k, node in enumerate(nodes):
        others = _shapes(node)
        for name in {**shapes, **others}:
            if shapes.get(name) != others.get(name):
                raise ValueError(
                    f"the nodes of the basis {basis} must have the same parameters: {name} is "
                    f"{shapes.get(name, 'missing')} in node 0, {others.get(name, 'missing')} in "
                    f"node {k}"
                )
        other_constants = dict(_constants(node))
        for name in {**constants, **other_constants}:
            if not _equal(constants.get(name), other_constants.get(name)):
                raise ValueError(
                    f"the nodes of the basis {basis} must differ in their parameters alone: "
                    f"{name} is not a parameter that can be summed, and differs between the nodes "
                    f"0 and {k}; use piecewise_constant, or make it a parameter"
                )


def _shapes(node: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what is summed, by name."""
    summed = {**dict(node.named_parameters()), **dict(named_statistics(node))}
    return {name: tuple(tensor.shape) for name, tensor in summed.items() if summable(tensor)}


def named_constants(node: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers of a node that are not summed, with their names."""
    statistics = {buffer for _, buffer in named_statistics(node)}
    parameters = node.named_parameters(remove_duplicate=False)
    yield from ((name, parameter) for name, parameter in parameters if not summable(parameter))
    buffers = node.named_buffers(remove_duplicate=False)
    yield from ((name, buffer) for name, buffer in buffers if buffer not in statistics)


def _constants(node: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what else a node holds, by name: buffers, packed weights, tensors as attributes."""
    yield from named_constants(node)
    tensors = {
        name
        for named in (node.named_parameters, node.named_buffers)
        for name, _ in named(remove_duplicate=False)
    }
    for name, state in node.state_dict().items():
        if name not in tensors:
            yield name, state
    for prefix, module in node.named_modules():
        own = [
            name
            for named in (module.named_parameters, module.named_buffers)
            for name, _ in named(recurse=False)
        ]
        for name, value in vars(module).items():
            # Some reparametrizations compute `weight` from weight_g and weight_v, or weight_orig.
            derived = any(other.startswith(f"{name}_") for other in own)
            if isinstance(value, Tensor) and not derived:
                yield f"{prefix}.{name}".removeprefix("."), value


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
            return False
        return a.is_meta or torch.equal(a, b)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)
