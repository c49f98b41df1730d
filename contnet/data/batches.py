"""From a set of images to shuffled, augmented batches.

All randomness is stateless: the order of an epoch is a function of (seed, epoch), the augmentation of a batch one of
(seed, epoch, batch). So a resumed run sees what the uninterrupted one would have seen, with any number of workers, and
several processes see between them what one would have seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from contnet.data.images import Images
from contnet.data.randomness import keyed_generator
from contnet.processes import rank_and_world_size


@dataclass(frozen=True)
class Augmentation:
    """A random crop out of the image padded with `padding` black pixels, then a random horizontal flip; each image of a
    batch has its own."""

    padding: int
    flip: bool

    def draw(self, n_images: int, generator: torch.Generator) -> Tensor:
        """What happens to each of `n_images`: top and left of the crop and whether it is flipped, (n_images, 3)."""
        corner = torch.randint(0, 2 * self.padding + 1, (n_images, 2), generator=generator)
        flipped = torch.rand((n_images, 1), generator=generator) < (0.5 if self.flip else 0)
        return torch.cat([corner, flipped], dim=1)

    def apply(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        n, height, width, channels = pixels.shape
        padded = nn.functional.pad(pixels, (0, 0, *[self.padding] * 4))
        top, left, flipped = draws.unsqueeze(-1).unbind(1)
        rows = top + torch.arange(height)
        columns = left + torch.arange(width)
        columns = torch.where(flipped == 1, columns.flip(1), columns)
        # Whole pixels, out of one long row of all images' pixels: three times as fast as an index for each dimension.
        rows = rows + torch.arange(n)[:, None] * padded.shape[1]
        chosen = rows[:, :, None] * padded.shape[2] + columns[:, None, :]
        return padded.reshape(-1, channels).index_select(0, chosen.flatten()).view(pixels.shape)


@dataclass(frozen=True)
class BatchPlan:
    """What a worker needs to make one batch: the images of the global batch, which of them are this process's, and the
    key of the randomness."""

    indices: Tensor
    share: slice
    key: tuple[int, ...]


class Batches(Sampler[BatchPlan]):
    """The batches of an epoch: a permutation of all images drawn from (seed, epoch), or their own order without a seed.

    Several processes share each global batch of world_size * batch_size images evenly; all of them make the same number
    of batches, and no image is left out or repeated. A last global batch with too few images to go round is joined to
    the one before it.
    """

    def __init__(self, n_images: int, batch_size: int, seed: int | None = None) -> None:
        self.n_images = n_images
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.n_skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def _starts(self, world_size: int) -> list[int]:
        starts = list(range(0, self.n_images, world_size * self.batch_size))
        if len(starts) > 1 and self.n_images - starts[-1] < world_size:
            starts.pop()
        return starts

    def __len__(self) -> int:
        return len(self._starts(rank_and_world_size()[1]))

    def __iter__(self) -> Iterator[BatchPlan]:
        rank, world_size = rank_and_world_size()
        order = torch.arange(self.n_images)
        if self.seed is not None:
            order = torch.randperm(self.n_images, generator=keyed_generator(self.seed, self.epoch))
        starts = self._starts(world_size)
        skipped, self.n_skipped = self.n_skipped, 0
        for batch, (start, end) in enumerate(pairwise([*starts, self.n_images])):
            if batch < skipped:
                continue
            yield BatchPlan(
                order[start:end], slice(rank, None, world_size), (self.seed or 0, self.epoch, batch)
            )


class BatchLoader(DataLoader[tuple[Tensor, Tensor]]):
    """A loader of whole batches that can tell where in an epoch it is, and go on from there. Lightning keeps its state
    in checkpoints."""

    sampler: Batches
    _position = 0

    def __iter__(self) -> Any:
        # A generator, so that nothing is fetched before Lightning has set the epoch.
        self._position = self.sampler.n_skipped
        for batch in super().__iter__():
            self._position += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The number of batches of the epoch that have been handed out."""
        return {"n_batches": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out as many at the beginning of the next epoch."""
        self.sampler.n_skipped = state["n_batches"]


class BatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Makes whole batches: plan -> (images uint8 (N, C, H, W), labels int64 (N,))."""

    def __init__(self, images: Images, augmentation: Augmentation | None = None) -> None:
        self.images = images
        self.augmentation = augmentation

    def __getitem__(self, plan: BatchPlan) -> tuple[Tensor, Tensor]:
        own = plan.indices[plan.share]
        pixels = self.images.take(own)
        if self.augmentation is not None:
            # Drawn for the global batch, so that the number of processes makes no difference.
            draws = self.augmentation.draw(len(plan.indices), keyed_generator(*plan.key))
            pixels = self.augmentation.apply(pixels, draws[plan.share])
        return pixels.permute(0, 3, 1, 2), self.images.labels[own]


def batch_loader(
    images: Images,
    batch_size: int,
    *,
    seed: int | None = None,
    augmentation: Augmentation | None = None,
    num_workers: int = 0,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of `images`, shuffled where there is a seed."""
    return BatchLoader(
        BatchDataset(images, augmentation),
        sampler=Batches(len(images.labels), batch_size, seed),
        batch_size=None,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
