"""What the evaluation of a rate changes beside its result: buffers, and the state of generators."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn


class Bystanders:
    """The buffers of modules in training, and the random numbers that are drawn next, as they are.

    Generators are PyTorch's own, of the CPU and of a device. Buffers of modules in evaluation mode
    are left out.

    Args:
        modules: the modules that rates evaluate.
        device: the device of the state.
    """

    def __init__(self, modules: Iterable[nn.Module], device: torch.device) -> None:
        self._held = [
            (layer, name, buffer, buffer.clone())
            for module in modules
            if any(layer.training for layer in module.modules())
            for layer in module.modules()
            for name, buffer in layer._buffers.items()
            if buffer is not None and not nn.parameter.is_lazy(buffer)
        ]
        self._generators = [(get(), get, put) for get, put in _generators(device)]

    @torch.no_grad()
    def restore(self) -> None:
        """Undo what evaluations have done since."""
        for layer, name, buffer, before in self._held:
            # Past autograd: a batch norm saves its running mean for the backward pass of the first
            # stage, and does not use it there.
            buffer.data.copy_(before)
            layer._buffers[name] = buffer  # which a rate may have replaced
        self.draw_again()

    def draw_again(self) -> None:
        """Draw the same random numbers again."""
        for state, _, put in self._generators:
            put(state)

    def has_drawn(self) -> bool:
        """Return True if random numbers have been drawn since."""
        return not all(torch.equal(get(), state) for state, get, _ in self._generators)


Generator = tuple[Callable[[], Tensor], Callable[[Tensor], None]]
"""Functions that get and set the state of a generator."""


def _generators(device: torch.device) -> list[Generator]:
    found: list[Generator] = [(torch.get_rng_state, torch.set_rng_state)]
    if device.type in ("cuda", "xpu"):
        module = getattr(torch, device.type)
        found.append(
            (
                partial(module.get_rng_state, device),
                lambda state: module.set_rng_state(state, device),
            )
        )
    if device.type == "mps":
        found.append((torch.mps.get_rng_state, torch.mps.set_rng_state))
    return found
