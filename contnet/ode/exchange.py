"""Evaluation of a module with other tensors in the places of its own."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def evaluate_with(module: nn.Module, tensors: Mapping[str, Tensor], *inputs: Tensor) -> Any:
    """Return module(*inputs) with other parameters and buffers, by name.

    Its own are put back afterwards. A tensor that the module holds in several places is exchanged
    in all of them.
    """
    own = list(_places(module))
    named = {tensor: name for name, tensor in own if name in tensors}
    places = {name: tensors[named[tensor]] for name, tensor in own if tensor in named}
    # PyTorch's own way to tie weights exchanges a module that is registered twice twice as well,
    # and puts back what it has put there itself.
    return functional_call(module, places, inputs, tie_weights=False)


def _places(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield each place of a tensor once, with the tensor."""
    for prefix, layer in module.named_modules():
        beginning = f"{prefix}." if prefix else ""
        for named in (layer.named_parameters, layer.named_buffers):
            for name, tensor in named(recurse=False, remove_duplicate=False):
                yield beginning + name, tensor
