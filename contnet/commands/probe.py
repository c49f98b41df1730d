"""A trial of one image, before a network of the user's own is trained.

A rate that changes the shape of its input may go unnoticed, because PyTorch adds tensors of
different shapes where it can. The trial looks at what every rate returns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from contnet.data.randomness import restored_generators
from contnet.errors import ConfigError, described
from contnet.ode.depth_time import depth_time
from contnet.ode.integrate import IntegrationError
from contnet.runs.names import TRACEBACK


def check_shapes(network: nn.Module, image: Tensor, num_classes: int, name: str, rate: str) -> None:
    """Check that rates keep the shape of their input, and that a network returns logits.

    No buffer of the network and no random number changes. Lazy modules get their parameters.

    Args:
        network: the network, on the CPU.
        image: a normalised image, (1, C, H, W).
        num_classes: the number of logits that the network must return.
        name: the name of the network's class, for messages.
        rate: the name of the class at `model.rate`; "" where there is none.

    Raises:
        ConfigError: if a shape is wrong, or the network cannot compute its logits.
    """
    key, target = ("model.rate", rate) if rate else ("model", name)
    try:
        with _unchanged(network), _watched_rates(network, key, target):
            logits: Any = network(image)
    except ConfigError:
        raise
    except IntegrationError:
        return  # a solver's tolerances are no fault of the shapes
    except Exception as error:
        raise ConfigError(
            f"{key}: {target} cannot be used for an image {tuple(image.shape)}; "
            f"{described(error)}; {TRACEBACK}"
        ) from error
    if _shape(logits) != (1, num_classes):
        raise ConfigError(
            f"model: {name} must return logits {(1, num_classes)} for an image "
            f"{tuple(image.shape)}; it returned {_shape(logits)}"
        )


@contextmanager
def _watched_rates(network: nn.Module, key: str, target: str) -> Iterator[None]:
    """Raise a `ConfigError` within the context if a rate returns another shape than it was given.

    `key` is the key of the network or of its rate in the configuration, and `target` its name.
    """

    def check(rate: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        before, after = _shape(inputs[0]), _shape(output)
        if before != after:
            what = target if key == "model.rate" else f"the rate {type(rate).__name__} in {target}"
            raise ConfigError(
                f"{key}: {what} must keep the shape of its input; {before} became {after}"
            )

    depth = depth_time(network)
    nodes = {node for block in depth.blocks for node in block.nodes} if depth else set()
    handles = [node.register_forward_hook(check) for node in nodes]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _unchanged(network: nn.Module) -> Iterator[None]:
    """Evaluate a network within the context, and leave it as it was afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = {
        name: buffer.clone()
        for name, buffer in network.named_buffers()
        if not nn.parameter.is_lazy(buffer)
    }
    network.eval()
    try:
        with restored_generators(), torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for name, buffer in network.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])
        depth = depth_time(network)
        if depth is not None:
            depth.set_manifestation()  # an adaptive scheme has counted the rates that it evaluated


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
