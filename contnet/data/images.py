"""A set of labelled images, in memory or in files.

Pixels are uint8 in (N, H, W, C). They take a quarter of the bytes of float32. Seen as (N, C, H, W),
they are in the channels-last layout, in which convolutions are fastest.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from contnet.data.decoding import UnreadableError, decoded, quiet_pillow


class Images(Protocol):
    """N labelled images of one size."""

    def __len__(self) -> int:
        """Return the number of images N."""

    @property
    def labels(self) -> Tensor:
        """The labels, int64 (N,)."""

    @property
    def channels(self) -> int:
        """The number of channels C."""

    @property
    def in_memory(self) -> bool:
        """True if `take` copies pixels, and decodes no file."""

    def fingerprint(self) -> bytes:
        """Identify the images and labels: equal data, equal digest."""

    def take(self, indices: Tensor, key: tuple[int, ...] = (0, 0)) -> tuple[Tensor, Tensor]:
        """Return the pixels (n, H, W, C) and the labels (n,) of the images at n indices.

        Pixels are uint8; those of the user's own data sets may be float32. `key` is that of the
        random numbers of such a data set: the seed and the epoch.
        """

    def subset(self, indices: Tensor) -> "Images":
        """Return the images at `indices` as a set."""

    def prepared(self) -> "Images":
        """Return the images in memory, if they are meant to be kept there, else unchanged."""


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory: `pixels` uint8 (N, H, W, C), `labels` int64 (N,)."""

    pixels: Tensor
    labels: Tensor

    in_memory: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        return self.pixels.shape[-1]

    def fingerprint(self) -> bytes:
        arrays = (self.pixels.numpy(), self.labels.numpy())
        return hashlib.sha256(
            b"".join(hashlib.sha256(np.ascontiguousarray(a).data).digest() for a in arrays)
        ).digest()

    def take(self, indices: Tensor, key: tuple[int, ...] = (0, 0)) -> tuple[Tensor, Tensor]:
        return self.pixels[indices], self.labels[indices]

    def subset(self, indices: Tensor) -> "ArrayImages":
        return ArrayImages(self.pixels[indices], self.labels[indices])

    def prepared(self) -> "ArrayImages":
        return self


@dataclass(frozen=True)
class FileImages:
    """Images in files of any format that Pillow reads, as RGB.

    Args:
        files: N files.
        labels: int64 (N,).
        image_size: height and width; images of other sizes are resized.
        decode_once: `prepared` decodes all images into memory. Otherwise `take` decodes an image
            each time.
    """

    files: Sequence[Path]
    labels: Tensor
    image_size: int
    decode_once: bool
    channels: int = 3
    in_memory: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> bytes:
        """Identify the files by names, sizes and times; reading them would take too long."""
        facts = [
            (str(file), *attrgetter("st_size", "st_mtime_ns")(file.stat())) for file in self.files
        ]
        return hashlib.sha256(
            repr((facts, self.labels.tolist(), self.image_size)).encode()
        ).digest()

    def take(self, indices: Tensor, key: tuple[int, ...] = (0, 0)) -> tuple[Tensor, Tensor]:
        with quiet_pillow():
            pixels = np.stack([self._decode(self.files[i]) for i in indices.tolist()])
        return torch.from_numpy(pixels), self.labels[indices]

    def subset(self, indices: Tensor) -> "FileImages":
        files = [self.files[i] for i in indices.tolist()]
        return replace(self, files=files, labels=self.labels[indices])

    def prepared(self) -> Images:
        """Return the images, decoded into memory where `decode_once`.

        Raises:
            ValueError: if a file is no image.
        """
        if not self.decode_once:
            return self
        console = Console(stderr=True)
        pixels = np.empty(
            (len(self.files), self.image_size, self.image_size, self.channels), np.uint8
        )
        with quiet_pillow(), ThreadPoolExecutor() as pool:
            images: Iterable[np.ndarray] = pool.map(self._decode, self.files)
            if console.is_terminal:
                images = track(images, "reading images", len(self.files), console=console)
            for i, image in enumerate(images):
                pixels[i] = image
        return ArrayImages(torch.from_numpy(pixels), self.labels)

    def _decode(self, file: Path) -> np.ndarray:
        size = (self.image_size, self.image_size)
        try:
            rgb = decoded(file)
        except UnreadableError as error:
            raise ValueError(f"root: cannot use {file}: {error}") from error
        return np.asarray(rgb if rgb.size == size else rgb.resize(size, Image.Resampling.BILINEAR))
