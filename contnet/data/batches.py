"""From a set of images to shuffled, augmented batches.

All randomness is stateless: the order of an epoch is a function of (seed, epoch), the augmentation of a batch one of
(seed, epoch, batch, rank). So a resumed run sees what the uninterrupted one would have seen, with any
number of workers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from contnet.data.images import Images


@dataclass(frozen=True)
class Augmentation:
    """A random crop out of the image padded with `padding` black pixels, then a random horizontal flip; each image of a
    batch has its own."""

    padding: int
    flip: bool

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        n, height, width, _ = pixels.shape
        top, left = torch.randint(0, 2 * self.padding + 1, (2, n, 1), generator=generator)
        rows = top + torch.arange(height)
        columns = left + torch.arange(width)
        if self.flip:
            flipped = torch.rand((n, 1), generator=generator) < 0.5
            columns = torch.where(flipped, columns.flip(1), columns)
        padded = nn.functional.pad(pixels, (0, 0, *[self.padding] * 4))
        return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


@dataclass(frozen=True)
class BatchPlan:
    """What a worker needs to make one batch: which images, and the key of its randomness."""

    indices: Tensor
    key: tuple[int, ...]


class Batches(Sampler[BatchPlan]):
    """The batches of an epoch: a permutation of all images drawn from (seed, epoch), or their own order without a seed.

    With several processes every global batch of world_size * batch_size images is dealt out by rank; in their own order
    no image is repeated.
    """

    def __init__(self, n_images: int, batch_size: int, seed: int | None = None) -> None:
        self.n_images = n_images
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        rank, world_size = _rank_and_world_size()
        return len(range(rank * self.batch_size, self.n_images, world_size * self.batch_size))

    def __iter__(self) -> Iterator[BatchPlan]:
        rank, world_size = _rank_and_world_size()
        order = torch.arange(self.n_images)
        if self.seed is not None:
            order = torch.randperm(self.n_images, generator=keyed_generator(self.seed, self.epoch))
        for batch, start in enumerate(range(rank * self.batch_size, self.n_images, world_size * self.batch_size)):
            yield BatchPlan(order[start : start + self.batch_size], (self.seed or 0, self.epoch, batch, rank))


class BatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Makes whole batches: plan -> (images uint8 (N, C, H, W), labels int64 (N,))."""

    def __init__(self, images: Images, augmentation: Augmentation | None = None) -> None:
        self.images = images
        self.augmentation = augmentation

    def __getitem__(self, plan: BatchPlan) -> tuple[Tensor, Tensor]:
        pixels = self.images.take(plan.indices)
        if self.augmentation is not None:
            pixels = self.augmentation(pixels, keyed_generator(*plan.key))
        return pixels.permute(0, 3, 1, 2), self.images.labels[plan.indices]


def batch_loader(
    images: Images,
    batch_size: int,
    *,
    seed: int | None = None,
    augmentation: Augmentation | None = None,
    num_workers: int = 0,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of `images`, shuffled where there is a seed."""
    return DataLoader(
        BatchDataset(images, augmentation),
        sampler=Batches(len(images.labels), batch_size, seed),
        batch_size=None,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def keyed_generator(*key: int) -> torch.Generator:
    """A generator whose stream is a function of the key alone."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def _rank_and_world_size() -> tuple[int, int]:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
