"""What all parts are given: the device, the sizes, and perhaps a folder of images."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Settings:
    """How the parts are run.

    Args:
        device: `cuda` or `cpu`.
        quick: small sizes, which show that the parts work, and whose figures mean nothing.
        images: a folder with train/<class>/ and test/<class>/ to train on; None trains on noise.
    """

    device: str
    quick: bool = False
    images: Path | None = None

    @property
    def on_cuda(self) -> bool:
        """True if the device is a GPU of CUDA."""
        return self.device == "cuda"

    @property
    def judges_speed(self) -> bool:
        """True if figures of speed mean something: the aims are those of a GPU at full size."""
        return self.on_cuda and not self.quick

    @property
    def alpha(self) -> int:
        """Channels of the first segment."""
        return 2 if self.quick else 16

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return 4 if self.quick else 128

    @property
    def image_size(self) -> int:
        """Height and width of an image."""
        return 8 if self.quick else 32

    @property
    def n_images(self) -> int:
        """Training images; CIFAR-10 has as many."""
        return 16 if self.quick else 50_000

    @property
    def rounds(self) -> int:
        """Measurements of each side."""
        return 2 if self.quick else 15

    def without_tf32(self) -> None:
        """Let products of matrices and convolutions in float32 have all bits of float32."""
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False

    def as_trained(self) -> None:
        """Let cuDNN choose its algorithms by trial, as trainer=gpu does."""
        torch.backends.cudnn.benchmark = True
