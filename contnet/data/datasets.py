"""Data sets of the user's own: `torch.utils.data.Dataset`s of pairs (image, label).

An image is a tensor (C, H, W), which the network receives as it is: nothing is divided by 255, and
no mean is subtracted. The data set's own transforms do that, and augment the images.

Their randomness is a function of (seed, epoch, split, image), as that of this package is: before
each image, the global generators of torch, NumPy and Python are set from these four.
"""

import hashlib
import operator
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from contnet.data.image_data import ImageData
from contnet.data.randomness import keyed_seed, restored_generators
from contnet.errors import ConfigError, described

SPLITS = ("train", "val", "test")

ALLOWED = (
    "contnet.data.ImageData, or torch.utils.data.Datasets of (image, label) as train, test and "
    "perhaps val, in a dictionary or as attributes"
)


@dataclass(frozen=True)
class DatasetImages:
    """The images of a data set at some of its indices, read as they are needed.

    Args:
        dataset: a map-style data set of pairs (image, label).
        name: what messages call it: train, val or test.
        indices: int64 (N,).
        shape: the shape (C, H, W) that every image must have.
        n_classes: labels must be less; None accepts every label.
    """

    dataset: Any
    name: str
    indices: Tensor
    shape: tuple[int, ...]
    n_classes: int | None = None

    in_memory: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> Tensor:
        """The labels, int64 (N,). Unless the data set lists them, each image is read for them."""
        listed = _listed_labels(self.dataset)
        if listed is not None:
            return listed[self.indices]
        return torch.tensor([label for _, label in self._items(self.indices, (0, 0))])

    @property
    def channels(self) -> int:
        return self.shape[0]

    def fingerprint(self) -> bytes:
        """Identify the images and labels by their contents, which are all read for it."""
        combined = hashlib.sha256(repr(self.shape).encode())
        for image, label in self._items(self.indices, (0, 0)):
            combined.update(image.contiguous().numpy().tobytes() + str(label).encode())
        return combined.digest()

    def take(self, indices: Tensor, key: tuple[int, ...] = (0, 0)) -> tuple[Tensor, Tensor]:
        images, labels = zip(*self._items(self.indices[indices], key), strict=True)
        return torch.stack(images).permute(0, 2, 3, 1), torch.tensor(labels)

    def subset(self, indices: Tensor) -> "DatasetImages":
        return replace(self, indices=self.indices[indices])

    def prepared(self) -> "DatasetImages":
        return self

    def _items(self, positions: Tensor, key: tuple[int, ...]) -> Iterator[tuple[Tensor, int]]:
        """Yield the checked pairs at positions of the data set."""
        with restored_generators():
            for position in positions.tolist():
                image, label = _read(self.dataset, self.name, position, key)
                place = f"{self.name}[{position}]"
                if tuple(image.shape) != self.shape:
                    raise ConfigError(
                        f"dataset: images must have one shape; train[0] has {self.shape}, "
                        f"{place} has {tuple(image.shape)}"
                    )
                self.check_label(position, label)
                yield image, label

    def check_label(self, position: int, label: int) -> None:
        """Raise a `ConfigError` unless the label at a position of the data set is a class."""
        if label < 0 or (self.n_classes is not None and label >= self.n_classes):
            most = "" if self.n_classes is None else f" to {self.n_classes - 1}"
            raise ConfigError(
                f"dataset: labels must be whole numbers from 0{most}; "
                f"{self.name}[{position}] has {label}"
            )


def from_datasets(made: Any, target: str, **options: Any) -> ImageData:
    """Return the data set of a user's own `Dataset`s.

    Args:
        made: a mapping with the keys train, test, perhaps val and perhaps classes, or an object
            with such attributes. Each data set yields pairs (image, label): a tensor (C, H, W) of
            one shape, and a whole number. `classes` are the names of the classes; without them
            `train.classes` is taken, and without that the labels of `train` are counted.
        target: what has made it, for messages.
        options: `batch_size`, `test_batch_size`, `val_size`, `split_seed`, `num_workers`, perhaps
            `n_train` of `ImageData`. A `val_size` of 0 leaves out `val`; any other is used only
            where `made` has no `val`.

    Raises:
        ConfigError: if `made` holds something else, or an image or a label is not allowed.
        ValueError: if an option is out of range.
    """
    found = _found(made, target)
    if options["val_size"] == 0:
        found.pop("val", None)
    with restored_generators():
        image, _ = _read(found["train"], "train", 0, (0, 0))
    images = {
        name: DatasetImages(dataset, name, torch.arange(len(dataset)), tuple(image.shape))
        for name, dataset in found.items()
    }
    classes = _classes(made, images["train"])
    images = {name: replace(one, n_classes=len(classes)) for name, one in images.items()}
    for name, one in images.items():
        if name != "train":  # so that it is not refused only after training
            one.take(torch.tensor([0]))
            listed = _listed_labels(found[name])
            if listed is not None:
                one.check_label(int(listed.argmax()), int(listed.max()))
    return ImageData(images["train"], images["test"], classes, val=images.get("val"), **options)


def _found(made: Any, target: str) -> dict[str, Any]:
    """Return the data sets train, test and perhaps val, each with an image at least."""
    found = {name: _member(made, name) for name in SPLITS}
    for name, dataset in found.items():
        missing = dataset is None and name != "val"
        map_style = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        if missing or (dataset is not None and not map_style):
            what = f"an object of type {type(made).__name__}"
            inside = "no" if dataset is None else f"an object of type {type(dataset).__name__} as"
            raise ConfigError(
                f"dataset._target_ must make {ALLOWED}; {target} made {what} with {inside} {name}"
            )
        if dataset is not None and len(dataset) == 0:
            raise ConfigError(f"dataset: {name} must hold an image, got an empty data set")
    return {name: dataset for name, dataset in found.items() if dataset is not None}


def _member(made: Any, name: str) -> Any:
    return made.get(name) if isinstance(made, Mapping) else getattr(made, name, None)


def _classes(made: Any, train: DatasetImages) -> list[str]:
    names = _member(made, "classes")
    if names is None:
        names = getattr(train.dataset, "classes", None)
    if names is None:
        return [str(label) for label in range(int(train.labels.max()) + 1)]
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) < 2:
        raise ConfigError(
            f"dataset: classes must be a list of at least two names, in the order of the labels, "
            f"got {names!r}"
        )
    return [str(name) for name in names]


def _listed_labels(dataset: Any) -> Tensor | None:
    """Return the labels of a data set that lists them as torchvision's do, or None."""
    listed = getattr(dataset, "targets", None)
    if listed is None or getattr(dataset, "target_transform", None) is not None:
        return None
    try:
        labels = torch.as_tensor(listed)
    except (TypeError, ValueError, RuntimeError):  # names, or lists of several lengths
        return None
    suitable = labels.shape == (len(dataset),) and not labels.is_floating_point()
    return labels.long() if suitable else None


def _read(dataset: Any, name: str, position: int, key: tuple[int, ...]) -> tuple[Tensor, int]:
    """Return an image, uint8 or float32 (C, H, W), and its label, read with random numbers of key.

    The global generators are set.
    """
    place = f"{name}[{position}]"
    # With the split: a test image must not be drawn as a training image is.
    _set_generators(keyed_seed(*key, SPLITS.index(name), position))
    try:
        item = dataset[position]
    except Exception as error:  # of the user's own code
        raise ConfigError(
            f"dataset: {place} of {type(dataset).__name__} fails; {described(error)}"
        ) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ConfigError(
            f"dataset: {place} must be a pair (image, label), got {type(item).__name__}"
        )
    image, label = item
    if not isinstance(image, Tensor) or image.ndim != 3:
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ConfigError(
            f"dataset: the image of {place} must be a tensor (C, H, W), got {got}; "
            "torchvision.transforms.ToTensor() makes one"
        )
    try:
        number = operator.index(label)
    except TypeError as error:
        raise ConfigError(
            f"dataset: the label of {place} must be a whole number, got {label!r}"
        ) from error
    return image if image.dtype == torch.uint8 else image.float(), number


def _set_generators(seed: int) -> None:
    # Not torch.manual_seed, which is slower and reaches for a GPU.
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
