"""The way from an image to the input of a network, as the network was trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from contnet.data.decoding import UnreadableError, decoded, quiet_pillow, resized, to_rgb
from contnet.data.normalise import Normalise

PIXELS = 255
"""The value of full brightness in uint8."""

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode of images with so many channels."""

SIZES = {"digits": 8, "cifar10": 32, "cifar100": 32, "fashion_mnist": 28, "tiny_imagenet": 64}
"""Height and width of the images in each data set of one size, by the name of its function."""

GREY = ("digits", "fashion_mnist")
"""The data sets whose images have one channel."""


@dataclass(frozen=True)
class Preprocessing:
    """The form of a network's images, and their normalisation.

    Args:
        shape: channels, height and width of an image.
        mean, std: of each channel, of pixels in [0, 1].
        white: the value of full brightness: 255 in uint8, and 1 for images that the network
            receives as the user's own data set makes them.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: int = PIXELS

    @classmethod
    def of(cls, record: dict[str, Any] | None) -> Self | None:
        """Return the preprocessing that `dataclasses.asdict` has made a record of."""
        if record is None:
            return None
        channels, height, width = record["shape"]
        mean, std = tuple(record["mean"]), tuple(record["std"])
        return cls((channels, height, width), mean, std, record["white"])

    @classmethod
    def recorded(cls, dataset: dict[str, Any]) -> Self | None:
        """Return the preprocessing of a data set of contnet from its configuration.

        It is for early checkpoints, which do not record it. Of another data set nothing is known.
        """
        name = str(dataset["_target_"]).removeprefix("contnet.data.")
        size = dataset.get("image_size", SIZES.get(name))
        channels = 1 if name in GREY else 3
        mean, std = (_numbers(dataset.get(key), channels) for key in ("mean", "std"))
        if not isinstance(size, int) or mean is None or std is None:
            return None
        return cls((channels, size, size), mean, std)

    def normalise(self, *, channels_last: bool) -> Normalise:
        """Return the module that maps images (N, C, H, W) to the input of the network."""
        return Normalise(self.mean, self.std, white=self.white, channels_last=channels_last)

    def batch(self, images: Any) -> Tensor:
        """Return images as a tensor (N, C, H, W) of the size that the network was trained on.

        Files, images of Pillow and pixels in uint8 are resized as in training, where their size is
        another one. They become grey, or get colours, as the network needs.

        Args:
            images: one image, or a sequence of images. An image is the path of a file, an image of
                Pillow, a tensor (H, W) or (C, H, W) in uint8, or an array (H, W) or (H, W, C) in
                uint8. A batch may be a tensor (N, C, H, W) or an array (N, H, W, C) as well. A
                network that was trained on a data set of the user's own takes tensors alone, as
                that data set makes them.

        Raises:
            TypeError: if an image is of another type.
            ValueError: if an image cannot be read or has another shape, or there is none.
        """
        if isinstance(images, np.ndarray) and images.ndim == 4:
            images = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        is_batch = isinstance(images, Tensor) and images.ndim == 4
        several = is_batch or (isinstance(images, Sequence) and not isinstance(images, str))
        if several and len(images) == 0:
            raise ValueError("images must hold an image at least, got none")
        if is_batch and images.shape[1:] == self.shape:
            return self._checked(images)
        return torch.stack([self._image(image) for image in (images if several else [images])])

    def decode(
        self, file: Path, change: Callable[[Image.Image], Image.Image] | None = None
    ) -> Tensor | str:
        """Return the image in a file as a tensor (C, H, W), or the reason why it cannot be read.

        Args:
            file: the file.
            change: a function of the decoded image in RGB, before it is resized.

        Raises:
            ValueError: if the network takes no images in files: see `batch`.
        """
        self.check_takes_files(file)
        try:
            with quiet_pillow():
                image = decoded(file)
                return self._of_pillow(image if change is None else change(image))
        except UnreadableError as error:
            return str(error)

    def _image(self, image: Any) -> Tensor:
        """Return one image as a tensor (C, H, W) of the right shape."""
        if isinstance(image, np.ndarray) and image.ndim in (2, 3):
            pixels = image if image.ndim == 3 else image[:, :, None]
            image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
        if isinstance(image, Tensor) and image.ndim == 2:
            image = image[None]
        if isinstance(image, Tensor) and image.shape == self.shape:
            return self._checked(image)
        self.check_takes_files(image)
        with quiet_pillow():
            return self._of_pillow(_as_pillow(image))

    def check_takes_files(self, image: Any) -> None:
        """Raise a `ValueError`, of an image that was given, unless files can be images."""
        if self.white != PIXELS or self.shape[0] not in MODES:
            raise ValueError(
                f"images must be tensors of shape {self.shape}, as the network's own data set "
                f"makes them; got {_shown(image)}"
            )

    def _of_pillow(self, image: Image.Image) -> Tensor:
        channels, height, width = self.shape
        if 0 in image.size:
            raise ValueError(f"images must have pixels, got one of {image.size}")
        fitting = resized(image, (width, height)).convert(MODES[channels])
        pixels = torch.from_numpy(np.array(fitting))
        return pixels.view(height, width, channels).permute(2, 0, 1)

    def _checked(self, images: Tensor) -> Tensor:
        if self.white == PIXELS and images.dtype != torch.uint8:
            raise ValueError(
                f"images must be uint8, from 0 to {PIXELS}: the network subtracts the mean itself; "
                f"got {str(images.dtype).removeprefix('torch.')}"
            )
        return images


def _numbers(values: Any, channels: int) -> tuple[float, ...] | None:
    """Return a list of one number for each channel as a tuple, and None for other values."""
    if not isinstance(values, list) or len(values) != channels:
        return None
    return tuple(values) if all(isinstance(value, float) for value in values) else None


def _as_pillow(image: Any) -> Image.Image:
    """Return an image of any size as an image of Pillow in RGB."""
    if isinstance(image, str | Path):
        try:
            return decoded(Path(image))
        except UnreadableError as error:
            raise ValueError(f"images: cannot use {str(image)!r}: {error}") from error
    if isinstance(image, Image.Image):
        try:
            return to_rgb(image.copy())
        except UnreadableError as error:
            raise ValueError(f"images: cannot use an image of Pillow: {error}") from error
    if isinstance(image, Tensor):
        fits = image.ndim == 3 and image.shape[0] in MODES and image.numel() > 0
        if fits and image.dtype == torch.uint8:
            pixels = image.permute(1, 2, 0).cpu().numpy()
            return Image.fromarray(pixels if image.shape[0] == 3 else pixels[:, :, 0]).convert(
                "RGB"
            )
        raise ValueError(
            f"images must be uint8 of shape (1, H, W) or (3, H, W), got {_shown(image)}"
        )
    raise TypeError(
        "images must be files, images of Pillow, or pixels in tensors or arrays; got "
        f"{type(image).__name__}"
    )


def _shown(image: Any) -> str:
    if isinstance(image, str | Path):
        return repr(str(image))
    if not isinstance(image, Tensor):
        return type(image).__name__
    return f"{str(image.dtype).removeprefix('torch.')} of shape {tuple(image.shape)}"
