"""Normalisation of stored pixels to network input."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Map pixels (N, C, H, W) to (pixel / white - mean) / std in floating point.

    Args:
        mean, std: of each channel, of pixels in [0, 1].
        white: the value of a pixel of full brightness, 255 in uint8.
        channels_last: return the channels-last memory format, in which convolutions are fastest.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        white: int = 255,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.channels_last = channels_last  # a memory format cannot be pickled by torch.save
        # Not in the state dictionary: the configuration, which a checkpoint records, has them.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1) * white, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1) * white, persistent=False)

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of the input of the network."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def forward(self, images: Tensor) -> Tensor:
        normalised = (images - self.mean) / self.std
        return normalised.contiguous(memory_format=self.memory_format)
