import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from contnet.data import ImageData
from contnet.data.datasets import from_datasets
from contnet.errors import ConfigError

OPTIONS = {
    "batch_size": 8,
    "test_batch_size": 8,
    "val_size": 0,
    "split_seed": 0,
    "num_workers": 0,
}


class Numbered(Dataset):
    """Image i is filled with i, and has label i % 3; the indices that are read are counted."""

    def __init__(self, n: int, noise: Any = lambda: 0.0, **attributes: Any) -> None:
        self.n = n
        self.noise = noise
        self.read: list[int] = []
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        self.read.append(i)
        return torch.full((2, 4, 4), i + self.noise()), i % 3


def noise() -> float:
    return torch.rand(()).item() + random.random() + float(np.random.rand())


def data(train: Any, test: Any = None, **options: Any) -> ImageData:
    test = Numbered(6) if test is None else test
    made = {"train": train, "test": test, "classes": ["a", "b", "c"]}
    return from_datasets(made, "mine.data", **{**OPTIONS, **options})


def epoch(images: ImageData, number: int = 0, seed: int = 0) -> list[tuple[float, int]]:
    """Return the first pixel and the label of each training image of an epoch."""
    loader: Any = images.train_loader(seed)
    loader.sampler.set_epoch(number)
    return [
        (image[0, 0, 0].item(), int(label))
        for batch, labels in loader
        for image, label in zip(batch, labels, strict=True)
    ]


def test_images_reach_the_network_as_they_are() -> None:
    images = data(Numbered(20))
    (batch, labels), *_ = list(images.test_loader())
    assert (batch.shape, batch.dtype, labels.dtype) == ((6, 2, 4, 4), torch.float32, torch.int64)
    normalised = images.normalise(channels_last=True)(batch)
    assert torch.equal(normalised, batch)
    assert normalised[:, 1, 3, 3].tolist() == [0, 1, 2, 3, 4, 5]
    assert (images.in_channels, images.num_classes) == (2, 3)


def test_bytes_and_double_precision_become_single_precision_without_a_factor() -> None:
    for dtype in (torch.uint8, torch.float64, torch.float16):
        pixels = torch.full((9, 1, 2, 2), 200, dtype=dtype)
        given = TensorDataset(pixels, torch.arange(9) % 3)
        images = data(given, given)
        batch, _ = next(iter(images.train_loader(0)))
        normalised = images.normalise(channels_last=False)(batch)
        assert (normalised.dtype, normalised.unique().tolist()) == (torch.float32, [200.0])


def test_each_image_is_read_once_an_epoch_in_an_order_of_seed_and_epoch() -> None:
    images = data(Numbered(20))
    assert sorted(epoch(images)) == [(float(i), i % 3) for i in range(20)]
    assert epoch(images) == epoch(images)
    assert epoch(images) != epoch(images, 1)
    assert epoch(images) != epoch(images, seed=1)


def test_random_transforms_depend_on_seed_epoch_and_image_alone() -> None:
    train = Numbered(20, noise)
    alone = epoch(data(train))
    assert len({value % 1 for value, _ in alone}) == 20
    torch.manual_seed(7)
    random.seed(7)
    assert epoch(data(train, num_workers=2)) == alone
    assert sorted(epoch(data(train, batch_size=3))) == sorted(alone)
    assert not {value for value, _ in epoch(data(train), 1)} & {value for value, _ in alone}


def test_reading_leaves_the_global_generators_alone() -> None:
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    images = data(Numbered(20, noise))
    images.test_sample(2)
    images.train.take(torch.arange(4))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


def test_a_test_image_is_the_same_in_every_pass() -> None:
    images = data(Numbered(20), Numbered(6, noise))
    first, second = (torch.cat([b for b, _ in images.test_loader()]) for _ in range(2))
    assert torch.equal(first, second)
    assert images.test.fingerprint() == images.test.fingerprint()
    assert images.test.fingerprint() != data(Numbered(20), Numbered(6)).test.fingerprint()


def test_images_of_two_splits_are_drawn_differently() -> None:
    images = data(Numbered(6, noise), Numbered(6, noise))
    (test, _), *_ = list(images.test_loader())
    assert not {value for value, _ in epoch(images)} & set(test[:, 0, 0, 0].tolist())


def test_a_share_for_validation_is_cut_from_the_training_images() -> None:
    images = data(Numbered(30), val_size=0.2)
    assert images.val is not None
    assert (len(images.train), len(images.val)) == (24, 6)
    validation = {
        value.item() for batch, _ in images.val_loader() or () for value in batch[:, 0, 0, 0]
    }
    assert validation.isdisjoint(value for value, _ in epoch(images))
    assert sorted(int(value) % 3 for value in validation) == [0, 0, 1, 1, 2, 2]


def test_own_validation_images_replace_the_share_unless_val_size_is_0() -> None:
    made = SimpleNamespace(
        train=Numbered(30), val=Numbered(5), test=Numbered(6), classes=list("abc")
    )
    images = from_datasets(made, "mine.data", **{**OPTIONS, "val_size": 0.2})
    assert images.val is not None
    assert (len(images.train), len(images.val)) == (30, 5)
    without = from_datasets(made, "mine.data", **OPTIONS)
    assert (len(without.train), without.val) == (30, None)


def test_labels_are_read_no_more_often_than_needed() -> None:
    train = Numbered(30)
    data(train)
    assert train.read == [0]
    listed = Numbered(30, targets=[i % 3 for i in range(30)])
    data(listed, val_size=0.2)
    assert listed.read == [0]
    changed = Numbered(30, targets=[0] * 30, target_transform=lambda label: label)
    assert data(changed, val_size=0.2).val is not None
    assert sorted(changed.read) == [0, *range(30)]


def test_classes_are_the_training_sets_or_counted() -> None:
    made = {"train": Numbered(30), "test": Numbered(6)}
    assert from_datasets(made, "mine.data", **OPTIONS).classes == ("0", "1", "2")
    made["train"] = Numbered(30, classes=["x", "y", "z"])
    assert from_datasets(made, "mine.data", **OPTIONS).classes == ("x", "y", "z")


class Odd(Numbered):
    """A data set whose item 3 is something else."""

    def __getitem__(self, i: int) -> Any:
        return self.odd if i == 3 else super().__getitem__(i)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (torch.zeros(2, 4, 4), r"dataset: train\[3\] must be a pair \(image, label\), got Tensor"),
        (
            ("cat.png", 0),
            r"dataset: the image of train\[3\] must be a tensor \(C, H, W\), got str; "
            r"torchvision.transforms.ToTensor\(\) makes one",
        ),
        ((torch.zeros(4, 4), 0), r"the image of train\[3\] must be a tensor .*, got \(4, 4\)"),
        (
            (torch.zeros(2, 5, 4), 0),
            r"dataset: images must have one shape; train\[0\] has \(2, 4, 4\), train\[3\] has "
            r"\(2, 5, 4\)",
        ),
        (
            (torch.zeros(2, 4, 4), 3),
            r"dataset: labels must be whole numbers from 0 to 2; train\[3\] has 3",
        ),
        ((torch.zeros(2, 4, 4), -1), r"from 0 to 2; train\[3\] has -1"),
        (
            (torch.zeros(2, 4, 4), 1.5),
            r"dataset: the label of train\[3\] must be a whole number, got 1.5",
        ),
        ((torch.zeros(2, 4, 4), torch.tensor([1, 2])), r"train\[3\] must be a whole number"),
    ],
)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_item_that_is_not_allowed_is_one_line(odd: Any, message: str, num_workers: int) -> None:
    images = data(Odd(6, odd=odd), num_workers=num_workers)
    with pytest.raises(ConfigError, match=message) as raised:
        epoch(images)
    assert str(raised.value).startswith("dataset: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([1, 2], "mine.data made an object of type list with no train"),
        ({"train": Numbered(3)}, "mine.data made an object of type dict with no test"),
        (
            SimpleNamespace(train=True, test=Numbered(3)),
            "mine.data made an object of type SimpleNamespace with an object of type bool as train",
        ),
        ({"train": Numbered(3), "test": Numbered(0)}, "test must hold an image, got an empty"),
        (
            {"train": Numbered(3), "test": Numbered(3), "classes": "abc"},
            "classes must be a list of at least two names, in the order of the labels, got 'abc'",
        ),
        (
            {"train": TensorDataset(torch.zeros(3, 1, 2, 2), torch.zeros(3)), "test": Numbered(3)},
            r"the label of train\[0\] must be a whole number, got tensor\(0.\)",
        ),
    ],
)
def test_other_things_than_data_sets_are_refused(made: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_datasets(made, "mine.data", **OPTIONS)
