"""Weights of the original code, brought over from a plain state dict.

The original is github.com/afqueiruga/ContinuousNet, of 2020. docs/original.md says how its networks
differ from those of this package.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from contnet import arguments
from contnet.networks.continuous import ContinuousNet, WideContinuousNet
from contnet.networks.original_names import (
    Layers,
    Place,
    StateDict,
    layers_of,
    place_in_continuous,
    place_in_resnet,
    place_in_wide_resnet,
    shape_of,
)
from contnet.networks.original_types import check_types
from contnet.networks.residual import ResNet, WideResNet
from contnet.networks.units import SkipInit
from contnet.ode.schemes import AdaptiveScheme, Scheme

PARALLEL = "module."
"""What `torch.nn.DataParallel` puts before each name: train_resnet.py saves its network in one."""

MOST_NAMED = 3
"""Names in a message."""


def from_original_state_dict(
    state_dict: StateDict,
    *,
    scheme: str | Scheme | AdaptiveScheme = "euler",
    n_time_steps_per: int = 1,
    initial_time_d: int | None = None,
    time_epsilon: float | None = None,
) -> nn.Module:
    """Return the network of a state dict of the original code, with its weights and statistics.

    It is a `ContinuousNet`, `WideContinuousNet`, `ResNet` or `WideResNet` in evaluation mode. Its
    kind and sizes are read from the names and shapes of the tensors. No tensor holds the other
    arguments, of which ResNets have none.

    A ResNet computes what the original's computes. A continuous network does where the original
    looks up the right intervals: in float64 with K up to 13 nodes and one step on each of them, and
    with some larger K. In float32, in which the original ran, it looks up wrong ones with K = 3, 6,
    7, 11 to 15 and others, and with RK4 for every K but 1. This network has the right ones.

    The factors of SkipInit in pre-activation stitches, which the original does not apply, are fixed
    at 1: they have no gradient.

    Args:
        state_dict: the tensors by the original's names.
        scheme: the scheme that the network was trained with.
        n_time_steps_per: time steps on each node's interval.
        initial_time_d: nodes before refinement. By default it was not refined.
        time_epsilon: epsilon of the network; `initial_time_d` by default.

    Raises:
        ValueError: if tensors are missing, have other shapes or belong to no network of the
            original, a tensor is not dense or has another type than the others or than weights
            have, an argument is out of range, or one is given for a ResNet.
    """
    tensors = _checked(state_dict)
    network: nn.Module
    place: Callable[[str], Place]
    if "net.0.weight" in tensors:
        layers = layers_of(tensors)
        network = _continuous(
            tensors, layers, scheme, n_time_steps_per, initial_time_d, time_epsilon
        )
        place = partial(place_in_continuous, layers)
    elif "layer1.0.conv1.weight" in tensors:
        is_wide = "linear.weight" in tensors
        network = (_wide_resnet if is_wide else _resnet)(tensors)
        _check_left_out(
            type(network).__name__,
            scheme=(scheme, "euler"),
            n_time_steps_per=(n_time_steps_per, 1),
            initial_time_d=(initial_time_d, None),
            time_epsilon=(time_epsilon, None),
        )
        place = place_in_wide_resnet if is_wide else place_in_resnet
    else:
        raise ValueError(
            "state_dict must be that of a ContinuousNet, WideContinuousNet, ResNet or WideResNet "
            f"of the original code, got one with {_some(tensors)}"
        )
    own = network.state_dict()
    places = {name: place(name) for name in own}
    _check_names(tensors, {one.name for one in places.values()}, type(network).__name__)
    loaded = {name: _taken(tensors, places[name], one.shape) for name, one in own.items()}
    network.to(next(iter(loaded.values())).dtype).load_state_dict(loaded)
    if isinstance(network, ContinuousNet) and hasattr(network.head, "bn"):
        _apply_stitches_whole(network)
    return network.eval()


def _checked(state_dict: Any) -> StateDict:
    """Return the tensors by names without the prefix of `torch.nn.DataParallel`."""
    if not isinstance(state_dict, Mapping) or not all(
        isinstance(name, str) and isinstance(one, Tensor) for name, one in state_dict.items()
    ):
        raise ValueError(
            "state_dict must be tensors by name, as torch.load(..., weights_only=True) returns "
            f"for a saved network.state_dict(), got {type(state_dict).__name__}"
        )
    check_types(state_dict)
    if all(name.startswith(PARALLEL) for name in state_dict):
        return {name.removeprefix(PARALLEL): one for name, one in state_dict.items()}
    return state_dict


def _check_left_out(network: str, **values: tuple[Any, Any]) -> None:
    """Check that each argument has its default: the second one of a pair."""
    for name, (value, default) in values.items():
        if type(value) is not type(default) or value != default:
            raise ValueError(
                f"{name} must be left out for a {network}, which has no depth-time, got {value!r}"
            )


def _continuous(
    tensors: StateDict,
    layers: Layers,
    scheme: str | Scheme | AdaptiveScheme,
    n_time_steps_per: int,
    initial_time_d: int | None,
    time_epsilon: float | None,
) -> ContinuousNet:
    n_nodes = layers.n_nodes
    initial = n_nodes if initial_time_d is None else initial_time_d
    arguments.integer("initial_time_d", initial, minimum=1)
    n_refined = (n_nodes // initial).bit_length() - 1
    if initial << max(n_refined, 0) != n_nodes:
        raise ValueError(
            f"initial_time_d must become the {n_nodes} nodes of state_dict by doubling, "
            f"got {initial}"
        )
    alpha, in_channels, *_ = shape_of(tensors, "net.0.weight", 4)
    width = shape_of(tensors, f"net.{layers.blocks[0]}.net.L1.weight", 5)[1]
    is_pre_activation = layers.norm is not None
    options: dict[str, Any] = {
        "in_channels": in_channels,
        "num_classes": shape_of(tensors, f"net.{layers.linear}.weight", 2)[0],
        "alpha": alpha,
        "initial_time_d": initial,
        "scheme": scheme,
        "n_time_steps_per": n_time_steps_per,
        "time_epsilon": time_epsilon,
        "batch_norm": layers.has_batch_norm,
        "use_skipinit": f"net.{layers.blocks[0]}.net.skip_init.weight" in tensors,
        "activation_before_conv": is_pre_activation,
        "stitch_norm": "both" if is_pre_activation else "first",
    }
    is_wide = width != alpha or not layers.has_first_stitch
    network = (
        WideContinuousNet(widen_factor=max(width // alpha, 1), **options)
        if is_wide
        else ContinuousNet(**options)
    )
    for _ in range(n_refined):
        network.refine()
    return network


def _resnet(tensors: StateDict) -> ResNet:
    alpha, in_channels, *_ = shape_of(tensors, "conv1.weight", 4)
    classes = shape_of(tensors, "fc.weight", 2)[0]
    return ResNet(in_channels, classes, depth=6 * _n_units(tensors) + 2, alpha=alpha)


def _wide_resnet(tensors: StateDict) -> WideResNet:
    alpha, in_channels, *_ = shape_of(tensors, "conv1.weight", 4)
    return WideResNet(
        in_channels,
        shape_of(tensors, "linear.weight", 2)[0],
        depth=6 * _n_units(tensors) + 4,
        widen_factor=max(shape_of(tensors, "layer1.0.conv1.weight", 4)[0] // alpha, 1),
        alpha=alpha,
        stride_in="second",
    )


def _n_units(tensors: StateDict) -> int:
    """Return the number of units of the first segment."""
    return len({name.split(".")[1] for name in tensors if name.startswith("layer1.")})


def _check_names(tensors: StateDict, needed: set[str], network: str) -> None:
    missing, others = needed - tensors.keys(), tensors.keys() - needed
    if missing:
        raise ValueError(f"state_dict lacks {_some(missing)} of a {network} of the original code")
    if others:
        raise ValueError(
            f"state_dict must hold a {network} of the original code alone, got {_some(others)} too"
        )


def _taken(tensors: StateDict, place: Place, shape: torch.Size) -> Tensor:
    """Return the tensor at a place, which must have a shape."""
    tensor = tensors[place.name]
    expected = (place.n_parts, *shape) if place.n_parts else tuple(shape)
    if tuple(tensor.shape) != expected:
        raise ValueError(
            f"state_dict[{place.name!r}] must have the shape {expected} to fit the other tensors, "
            f"got {tuple(tensor.shape)}"
        )
    return tensor[place.part] if place.n_parts else tensor


def _apply_stitches_whole(network: ContinuousNet) -> None:
    """Fix the factors of SkipInit in the stitches at 1.

    The original holds them in its pre-activation stitches, at 0, and does not apply them. So they
    have no gradient there.
    """
    for module in network.stitches.modules():
        if isinstance(module, SkipInit):
            nn.init.ones_(module.scale)
            module.scale.requires_grad_(False)


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return (", ".join(map(repr, listed[:MOST_NAMED])) or "no tensors") + more
