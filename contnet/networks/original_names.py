"""The names that the original code gives to the tensors of its networks.

It numbers the layers of a continuous network, and holds the K weights of a convolution as one
tensor with a dimension for K in front. Its ResNets have names of layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

StateDict = Mapping[str, Tensor]

LAYERS = {"conv1": "L1", "conv2": "L2", "skipinit": "skip_init"}
"""Layers of a rate or a stitch here, and there. Batch norms have the same names."""


class Place(NamedTuple):
    """Where the original holds a tensor: as a whole, or as one part along the first dimension."""

    name: str
    part: int = 0
    n_parts: int = 0


@dataclass(frozen=True)
class Layers:
    """The numbers of the layers of a continuous network of the original.

    Without a first stitch, its number is that of the first block. `norm` is that of the batch norm
    before the pooling, which networks of pre-activation units have. There are `n_nodes` nodes.
    """

    has_batch_norm: bool
    has_first_stitch: bool
    stitches: tuple[int, int, int]
    blocks: tuple[int, int, int]
    norm: int | None
    linear: int
    n_nodes: int


def layers_of(tensors: StateDict) -> Layers:
    """Return the numbers of the layers of a continuous network.

    Raises:
        ValueError: if the first block is missing.
    """
    has_batch_norm = "net.1.weight" in tensors
    stitch = 3 if has_batch_norm else 2  # after a convolution, perhaps a norm, and a ReLU
    has_first_stitch = f"net.{stitch}.downsample.weight" in tensors
    block = stitch + has_first_stitch
    after = block + 5
    norm = after if f"net.{after}.weight" in tensors else None
    return Layers(
        has_batch_norm,
        has_first_stitch,
        (stitch, block + 1, block + 3),
        (block, block + 2, block + 4),
        norm,
        after + 2 + (norm is not None),  # after pooling and flattening
        shape_of(tensors, f"net.{block}.net.L1.weight", 5)[0],
    )


def place_in_continuous(layers: Layers, name: str) -> Place:
    """Return where a continuous network of the original holds a tensor of one of this package."""
    part, *rest = name.split(".")
    if part == "stem":
        return Place(".".join(["net", *rest]))
    if part == "head":
        return Place(f"net.{layers.norm if rest[0] == 'bn' else layers.linear}.{rest[1]}")
    if part == "stitches":
        stitch = f"net.{layers.stitches[int(rest[0])]}"
        if rest[1] == "shortcut":
            return Place(f"{stitch}.downsample.weight")
        layer, tensor = rest[2:]
        if layer == "skipinit":
            return Place(f"{stitch}.skip_init", part=0, n_parts=1)
        return Place(f"{stitch}.{LAYERS.get(layer, layer)}.{tensor}")
    i, _, k, layer, tensor = rest
    rate = f"net.{layers.blocks[int(i)]}.net"
    if layer not in LAYERS:
        return Place(f"{rate}.{layer}.bns.{k}.{tensor}")
    held = "weight" if layer == "skipinit" else tensor
    return Place(f"{rate}.{LAYERS[layer]}.{held}", int(k), layers.n_nodes)


def place_in_resnet(name: str) -> Place:
    """Return where a ResNet of the original holds a tensor of a ResNet of this package."""
    part, *rest = name.split(".")
    if part == "stem":
        return Place(f"{'conv1' if rest[0] == '0' else 'bn1'}.{rest[1]}")
    if part == "head":
        return Place(f"fc.{rest[1]}")
    return _place_in_unit(*rest, shortcut="downsample")


def place_in_wide_resnet(name: str) -> Place:
    """Return where a WideResNet of the original holds a tensor of one of this package."""
    part, *rest = name.split(".")
    if part == "stem":
        return Place(f"conv1.{rest[0]}")
    if part == "head":
        return Place(f"{'bn1' if rest[0] == 'bn' else 'linear'}.{rest[1]}")
    return _place_in_unit(*rest, shortcut="shortcut")


def _place_in_unit(segment: str, unit: str, branch: str, *rest: str, shortcut: str) -> Place:
    held = list(rest)
    if branch == "shortcut":
        held = [shortcut, *(["0"] if len(rest) == 1 else []), *rest]
    return Place(".".join([f"layer{int(segment) + 1}", unit, *held]))


def shape_of(tensors: StateDict, name: str, n_dimensions: int) -> tuple[int, ...]:
    """Return the shape of a tensor.

    Raises:
        ValueError: if it is missing or empty, or has another number of dimensions.
    """
    if name not in tensors:
        raise ValueError(f"state_dict lacks {name!r}, which networks of the original code have")
    shape = tuple(tensors[name].shape)
    if len(shape) != n_dimensions or 0 in shape:
        raise ValueError(
            f"state_dict[{name!r}] must have {n_dimensions} dimensions other than 0, got {shape}"
        )
    return shape
