"""A set of labelled images, in memory or in files.

Pixels are uint8 in (N, H, W, C). They take a quarter of the bytes of float32. Seen as (N, C, H, W),
they are in the channels-last layout, in which convolutions are fastest.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from contnet.data.decoding import GONE, UnreadableError, decoded, quiet_pillow, resized
from contnet.data.files import shown

log = logging.getLogger(__name__)

DECODER = 3
"""Version of what a file is decoded to; results of other pixels are not taken for these."""

MOST_NAMED = 5
"""Number of unreadable images to name in a message."""

Unreadable = tuple[Path, str]
"""A file, and why it cannot be read."""


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
        skip_unreadable: `prepared` decodes all images, and leaves out those that cannot be read.
    """

    files: Sequence[Path]
    labels: Tensor
    image_size: int
    decode_once: bool
    skip_unreadable: bool = False
    channels: ClassVar[int] = 3
    in_memory: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> bytes:
        """Identify the files by names, sizes and times; reading them would take too long."""
        facts = [(str(file), _state(file)) for file in self.files]
        content = (DECODER, facts, self.labels.tolist(), self.image_size)
        return hashlib.sha256(repr(content).encode()).digest()

    def take(self, indices: Tensor, key: tuple[int, ...] = (0, 0)) -> tuple[Tensor, Tensor]:
        pixels = []
        with quiet_pillow():
            for i in indices.tolist():
                image = self._decode(self.files[i])
                if isinstance(image, UnreadableError):
                    # A plain error, which a process that prepares batches can pass on.
                    error = UnreadableImagesError([(self.files[i], str(image))])
                    raise ValueError(str(error)) from image
                pixels.append(image)
        return torch.from_numpy(np.stack(pixels)), self.labels[indices]

    def subset(self, indices: Tensor) -> "FileImages":
        files = [self.files[i] for i in indices.tolist()]
        return replace(self, files=files, labels=self.labels[indices])

    def prepared(self) -> Images:
        """Return the images, decoded into memory where `decode_once`.

        Raises:
            UnreadableImagesError: if images cannot be read, and may not be left out.
            ValueError: if no image can be read.
        """
        if not self.decode_once and not self.skip_unreadable:
            return self
        side = self.image_size
        room = len(self) if self.decode_once else 1
        pixels = np.empty((room, side, side, self.channels), np.uint8)
        readable: list[int] = []
        unreadable: list[Unreadable] = []
        for i, image in enumerate(self._decode_all()):
            if isinstance(image, UnreadableError):
                unreadable.append((self.files[i], str(image)))
                continue
            pixels[len(readable) if self.decode_once else 0] = image
            readable.append(i)
        if unreadable and not self.skip_unreadable:
            raise UnreadableImagesError(unreadable)
        if not readable:
            raise ValueError(f"root: none of {len(self):,} images can be read; {named(unreadable)}")
        if unreadable:
            log.warning(
                f"dataset.skip_unreadable=true leaves out {len(unreadable):,} of {len(self):,} "
                f"images: {named(unreadable)}"
            )
        kept = torch.tensor(readable)
        if not self.decode_once:
            return self.subset(kept)
        return ArrayImages(torch.from_numpy(pixels[: len(readable)]), self.labels[kept])

    def _decode_all(self) -> Iterator[np.ndarray | UnreadableError]:
        console = Console(stderr=True)
        with quiet_pillow(), ThreadPoolExecutor() as pool:
            images: Iterable[np.ndarray | UnreadableError] = pool.map(self._decode, self.files)
            if console.is_terminal:
                images = track(images, "reading images", len(self.files), console=console)
            yield from images

    def _decode(self, file: Path) -> np.ndarray | UnreadableError:
        size = (self.image_size, self.image_size)
        try:
            rgb = decoded(file)
        except UnreadableError as error:
            return error
        return np.asarray(resized(rgb, size))


class UnreadableImagesError(ValueError):
    """Images that cannot be read.

    Args:
        found: the files, and why each cannot be read.
    """

    def __init__(self, found: Sequence[Unreadable]) -> None:
        what = "" if len(found) == 1 else f"{len(found):,} images: "
        message = f"root: cannot use {what}{named(found)}"
        if any(reason != GONE for _, reason in found):
            it = "it" if len(found) == 1 else "them"
            message += f"; dataset.skip_unreadable=true leaves {it} out"
        super().__init__(message)
        self.found = found


def named(unreadable: Sequence[Unreadable]) -> str:
    """Return the first of some files by name, each with its reason, and how many more there are."""
    first = "; ".join(f"{shown(file)}: {reason}" for file, reason in unreadable[:MOST_NAMED])
    n_more = len(unreadable) - MOST_NAMED
    return f"{first}; and {n_more:,} more" if n_more > 0 else first


def _state(file: Path) -> tuple[int, int] | None:
    """Return size and time of a file, or None for a link that leads nowhere."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
