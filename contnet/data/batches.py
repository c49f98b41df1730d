"""Shuffled, augmented batches of a set of images.

All randomness is stateless. The order of an epoch is a function of (seed, epoch), and the
augmentation of a batch is a function of (seed, epoch, batch). So a resumed run receives the batches
of a run that was never stopped, whatever the number of workers. The shares of several processes
together are the batches of one process.
"""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from contnet.data.images import Images
from contnet.data.randomness import keyed_generator
from contnet.errors import ConfigError
from contnet.processes import rank_and_world_size


@dataclass(frozen=True)
class Augmentation:
    """A random crop, then a random horizontal flip, drawn for each image.

    The crop has the size of the image. It is taken from the image with a black border of `padding`
    pixels. With `flip`, half of the images are mirrored.
    """

    padding: int
    flip: bool

    def draw(self, n_images: int, generator: torch.Generator) -> Tensor:
        """Draw top, left and flip (0 or 1) for the crop of each image, int64 (n_images, 3)."""
        corner = torch.randint(0, 2 * self.padding + 1, (n_images, 2), generator=generator)
        flipped = torch.rand((n_images, 1), generator=generator) < (0.5 if self.flip else 0)
        return torch.cat([corner, flipped], dim=1)

    def apply(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Crop and flip images (N, H, W, C) by `draws` (N, 3); the shape stays."""
        n, height, width, channels = pixels.shape
        padded = nn.functional.pad(pixels, (0, 0, *[self.padding] * 4))
        top, left, flipped = draws.unsqueeze(-1).unbind(1)
        rows = top + torch.arange(height, device=draws.device)
        columns = left + torch.arange(width, device=draws.device)
        columns = torch.where(flipped == 1, columns.flip(1), columns)
        # One index into the pixels of all images is three times as fast as one for each dimension.
        rows = rows + torch.arange(n, device=draws.device)[:, None] * padded.shape[1]
        chosen = rows[:, :, None] * padded.shape[2] + columns[:, None, :]
        return padded.reshape(-1, channels).index_select(0, chosen.flatten()).view(pixels.shape)


@dataclass(frozen=True)
class BatchPlan:
    """The plan by which a worker makes one batch.

    Args:
        indices: the images of the global batch, int64 (N,).
        share: the part of them that this process takes.
        key: the key of the random numbers.
    """

    indices: Tensor
    share: slice
    key: tuple[int, ...]


class Batches(Sampler[BatchPlan]):
    """The batches of an epoch, in an order drawn from (seed, epoch), or in order without a seed.

    Several processes share each global batch of world_size * batch_size images evenly. All make
    equally many batches, and no image is left out or repeated. A last global batch of fewer images
    than processes is joined to the one before it.
    """

    def __init__(self, n_images: int, batch_size: int, seed: int | None = None) -> None:
        self.n_images = n_images
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.n_skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this at the start of each."""
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
        order, key = torch.arange(self.n_images), (0, 0)
        if self.seed is not None:
            order = torch.randperm(self.n_images, generator=keyed_generator(self.seed, self.epoch))
            key = (self.seed, self.epoch)
        starts = self._starts(world_size)
        skipped, self.n_skipped = self.n_skipped, 0
        for batch, (start, end) in enumerate(pairwise([*starts, self.n_images])):
            if batch < skipped:
                continue
            yield BatchPlan(order[start:end], slice(rank, None, world_size), (*key, batch))


class BatchLoader(DataLoader[tuple[Tensor, Tensor]]):
    """A loader of whole batches that can be resumed within an epoch.

    Lightning keeps its state in checkpoints.
    """

    sampler: Batches
    _position = 0

    def __iter__(self) -> Any:
        # A generator: nothing may be fetched before Lightning has set the epoch.
        self._position = self.sampler.n_skipped
        try:
            for batch in super().__iter__():
                self._position += 1
                yield batch
        except ConfigError as error:
            # From a worker it comes with a traceback, of which the last line is the message.
            message = str(error).rstrip().rpartition("\n")[2]
            raise ConfigError(message.partition("ConfigError: ")[2] or message) from error

    def state_dict(self) -> dict[str, int]:
        """Return the number of images, and of batches of the epoch that have been loaded."""
        return {"n_batches": self._position, "n_images": self.sampler.n_images}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip the batches that have been loaded, at the start of the next epoch."""
        self.sampler.n_skipped = state["n_batches"]


class BatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Batches made from their plans: images (N, C, H, W) as stored, and labels, int64 (N,)."""

    def __init__(self, images: Images, augmentation: Augmentation | None = None) -> None:
        self.images = images
        self.augmentation = augmentation

    def __getitem__(self, plan: BatchPlan) -> tuple[Tensor, Tensor]:
        own = plan.indices[plan.share]
        pixels, labels = self.images.take(own, plan.key[:2])
        if self.augmentation is not None:
            # Drawn for the global batch: the number of processes makes no difference.
            draws = self.augmentation.draw(len(plan.indices), keyed_generator(*plan.key))
            pixels = self.augmentation.apply(pixels, draws[plan.share])
        return pixels.permute(0, 3, 1, 2), labels


def batch_loader(
    images: Images,
    batch_size: int,
    *,
    seed: int | None = None,
    augmentation: Augmentation | None = None,
    num_workers: int = 0,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader of batches of `images`, shuffled if there is a seed."""
    return BatchLoader(
        BatchDataset(images, augmentation),
        sampler=Batches(len(images), batch_size, seed),
        batch_size=None,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        worker_init_fn=_end_with_the_run,
        pin_memory=torch.cuda.is_available(),
    )


def _end_with_the_run(worker: int) -> None:
    """Let a process that prepares batches ignore signals, except SIGTERM of the process it is of.

    A cluster or a terminal sends a signal to all processes of a run. The one that trains still
    needs batches until it has saved its state.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # macOS has none
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    """End this process when SIGTERM comes from its parent."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
