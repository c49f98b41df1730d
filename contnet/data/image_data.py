"""A data set: its images, how they are split, and their batches."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from contnet import arguments
from contnet.data.batches import Augmentation, batch_loader
from contnet.data.images import Images, Unreadable, UnreadableImagesError
from contnet.data.normalise import Normalise
from contnet.data.preprocessing import Preprocessing
from contnet.data.randomness import keyed_generator
from contnet.data.splits import stratified_share

N_PROBE = 2048
"""Number of training images to evaluate during training if there are no validation images."""

Loader = DataLoader[tuple[Tensor, Tensor]]
"""Batches: images (N, C, H, W), uint8 or float32, and labels, int64 (N,)."""


class ImageData:
    """Training, validation and test images of a data set, and their batches.

    The validation images are a share of the training images, equal in every class. The share
    depends on `split_seed`, not on the seed of a run. The test images serve the final report alone.

    Args:
        train, test: the images as the data set is published.
        classes: the names of the classes, in the order of the labels.
        mean, std: of each channel, of pixels in [0, 1]; the network receives (pixel - mean) / std.
            Without them it receives the pixels as they are, and a pixel of 255 as 255.
        crop_padding: width in pixels of the black border that a training image gets before a random
            crop of its former size.
        horizontal_flip: mirror half of the training images.
        batch_size, test_batch_size: images in a batch of one process.
        val_size: share of the training images to validate on; 0 trains on all of them.
        split_seed: seed of the choice of validation images.
        n_train: number of training images to keep: a fixed sample; None keeps all of them.
        num_workers: processes that prepare batches while the network trains.
        val: validation images that are published; they replace a share of the training images.

    `n_unreadable` counts the images of train, val and test that cannot be read, and are left out.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        train: Images,
        test: Images,
        classes: Sequence[str],
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        crop_padding: int = 0,
        horizontal_flip: bool = False,
        batch_size: int,
        test_batch_size: int,
        val_size: float,
        split_seed: int,
        num_workers: int,
        n_train: int | None = None,
        val: Images | None = None,
    ) -> None:
        arguments.number("val_size", val_size, minimum=0, below=1)
        arguments.integer("split_seed", split_seed, minimum=0)
        self.classes = tuple(classes)
        self._statistics = _statistics(mean, std, train.channels)
        padding = arguments.integer("crop_padding", crop_padding, minimum=0)
        flip = arguments.boolean("horizontal_flip", horizontal_flip)
        self.augmentation = Augmentation(padding, flip) if padding or flip else None
        self.batch_size = arguments.integer("batch_size", batch_size, minimum=1)
        self.test_batch_size = arguments.integer("test_batch_size", test_batch_size, minimum=1)
        self.num_workers = arguments.integer("num_workers", num_workers, minimum=0)
        self.test = test
        self.train, self.val = train, val
        self.n_unreadable = {"train": 0, "val": 0, "test": 0}
        if val is None and val_size > 0:
            chosen = stratified_share(train.labels, val_size, split_seed, self.classes)
            self.train, self.val = (
                train.subset((~chosen).nonzero()[:, 0]),
                train.subset(chosen.nonzero()[:, 0]),
            )
        if n_train is not None:
            self.train = self._train_sample(arguments.integer("n_train", n_train, minimum=1))

    @property
    def in_channels(self) -> int:
        """Channels of each image."""
        return self.train.channels

    @property
    def num_classes(self) -> int:
        """Number of classes, including classes without images."""
        return len(self.classes)

    def normalise(self, *, channels_last: bool) -> Normalise:
        """Return the module that maps the batches of this data set to the input of a network."""
        if self._statistics is None:
            return Normalise((0.0,), (1.0,), white=1, channels_last=channels_last)
        return Normalise(*self._statistics, channels_last=channels_last)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The shape of the images, of which one is read, and their normalisation."""
        _, channels, height, width = self.test_sample(1).shape
        shape = (channels, height, width)
        if self._statistics is None:
            return Preprocessing(shape, (0.0,) * channels, (1.0,) * channels, white=1)
        return Preprocessing(shape, *self._statistics)

    def load_train(self) -> None:
        """Load the training and validation images, if they are meant to be kept in memory.

        Raises:
            ValueError: if images cannot be read, or a class has no other images.
        """
        unreadable: list[Unreadable] = []
        train = self._prepared("train", self.train, unreadable)
        val = None if self.val is None else self._prepared("val", self.val, unreadable)
        if unreadable:
            raise UnreadableImagesError(sorted(unreadable))
        if len(train) < len(self.train):
            lost = set(self.train.labels.tolist()) - set(train.labels.tolist())
            for label in sorted(lost):
                raise ValueError(
                    f"root: no training image of the class {self.classes[label]!r} can be read"
                )
        self.train, self.val = train, val

    def load_test(self) -> None:
        """Load the test images, if they are meant to be kept in memory.

        Raises:
            ValueError: if images cannot be read.
        """
        unreadable: list[Unreadable] = []
        test = self._prepared("test", self.test, unreadable)
        if unreadable:
            raise UnreadableImagesError(unreadable)
        self.test = test

    def _prepared(self, split: str, images: Images, unreadable: list[Unreadable]) -> Images:
        """Return the prepared images of a split, or add those that cannot be read to a list."""
        try:
            prepared = images.prepared()
        except UnreadableImagesError as error:
            unreadable += error.found
            return images
        self.n_unreadable[split] += len(images) - len(prepared)
        return prepared

    def train_loader(self, seed: int) -> Loader:
        """Return shuffled, augmented batches, as a function of `seed` and the epoch."""
        return batch_loader(
            self.train,
            self.batch_size,
            seed=seed,
            augmentation=self.augmentation,
            num_workers=self.num_workers,
        )

    def val_loader(self) -> Loader | None:
        """Return batches of the validation images, or None if there are none."""
        if self.val is None:
            return None
        return batch_loader(self.val, self.test_batch_size, num_workers=self.num_workers)

    def test_loader(self) -> Loader:
        """Return batches of the test images, in order and without augmentation."""
        return batch_loader(self.test, self.test_batch_size, num_workers=self.num_workers)

    def probe_loader(self) -> Loader:
        """Return the batches on which a network is evaluated while it trains.

        They are the validation images, or a fixed sample of the training images if there are none.
        """
        validation = self.val_loader()
        if validation is not None:
            return validation
        return batch_loader(self._train_sample(N_PROBE), self.test_batch_size)

    def recalibration_loader(self, n_images: int) -> Loader:
        """Return a fixed sample of the training images in batches, shuffled and augmented."""
        return batch_loader(
            self._train_sample(n_images).prepared(),
            self.batch_size,
            seed=0,
            augmentation=self.augmentation,
        )

    def _train_sample(self, n_images: int) -> Images:
        chosen = torch.randperm(len(self.train), generator=keyed_generator(0))[:n_images]
        return self.train.subset(chosen)

    def test_sample(self, n_images: int) -> Tensor:
        """Return test images evenly spaced in the set, (n_images, C, H, W) as stored."""
        spread = torch.linspace(0, len(self.test) - 1, n_images).long()
        return self.test.take(spread)[0].permute(0, 3, 1, 2)


def _statistics(
    mean: Sequence[float] | None, std: Sequence[float] | None, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the checked mean and std, or None if both are None."""
    if mean is None and std is None:
        return None
    means, stds = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    if min(stds) <= 0:
        raise ValueError(f"std must be greater than 0 in every channel, got {list(stds)}")
    return means, stds


def _per_channel(name: str, values: Sequence[float] | None, channels: int) -> tuple[float, ...]:
    if (
        not isinstance(values, Sequence)
        or len(values) != channels
        or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values)
    ):
        raise ValueError(
            f"{name} must be a list of {channels} numbers, one for each channel, got {values!r}"
        )
    return tuple(values)
