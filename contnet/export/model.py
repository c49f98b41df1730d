"""What a file is written from, and what it is read as."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from contnet.serving.trained import TrainedNetwork

Runtime = Callable[[Tensor], Tensor]
"""A function of images (N, C, H, W), as the network takes them, that returns logits in float32."""


@dataclass(frozen=True)
class Model:
    """A network to write to a file.

    Args:
        network: the network in float32, in the manifestation to write.
        precision: the precision of the file.
        calibration: images (N, C, H, W) that the ranges of activations in int8 are taken from.
    """

    network: TrainedNetwork
    precision: str
    calibration: Tensor | None = None
