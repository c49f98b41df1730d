import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets

from contnet.data import cifar10, cifar100, digits, fashion_mnist
from tests.data.options import OPTIONS


def test_digits_are_split_once_and_for_all_and_val_size_0_trains_on_everything() -> None:
    options = {**OPTIONS, "mean": [0.3], "std": [0.4], "num_workers": 0}
    with_val = digits(val_size=0.1, **options)
    without = digits(val_size=0, **options)
    assert (len(without.train.labels), without.val, len(without.test.labels)) == (1438, None, 359)
    assert (len(with_val.train.labels), len(with_val.val.labels), len(with_val.test.labels)) == (
        1295,
        143,
        359,
    )
    pixels = [data.test.take(torch.arange(359))[0] for data in (with_val, without)]
    assert torch.equal(*pixels)
    assert (without.in_channels, without.num_classes) == (1, 10)


def test_a_failed_download_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(self: datasets.CIFAR10, *_: object, **__: object) -> None:
        Path(self.root, "CIFAR10", "raw").mkdir(parents=True)
        raise URLError("no route to host")

    monkeypatch.setattr(datasets.CIFAR10, "download", no_network)
    with pytest.raises(
        ValueError,
        match=r"root must be a folder that holds the files of CIFAR10, .*no route to host",
    ):
        cifar10(root=str(tmp_path / "new" / "data"), val_size=0, num_workers=0, **OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_cifar10_is_read_as_torchvision_ships_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    generator = np.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        pixels = generator.integers(0, 256, (20, 3072), dtype=np.uint8)
        (base / name).write_bytes(pickle.dumps({"data": pixels, "labels": list(range(10)) * 2}))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = cifar10(root=str(tmp_path), val_size=0.1, num_workers=0, **OPTIONS)
    assert (len(data.train.labels), len(data.val.labels), len(data.test.labels)) == (90, 10, 20)
    images, _ = next(iter(data.test_loader()))
    assert torch.equal(images[0].flatten(), torch.from_numpy(pixels[0]))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_cifar100_is_read_with_its_fine_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "cifar-100-python"
    base.mkdir()
    fine = list(range(100))
    for name in ("train", "test"):
        pixels = np.random.default_rng(0).integers(0, 256, (100, 3072), dtype=np.uint8)
        content = {"data": pixels, "fine_labels": fine, "coarse_labels": [0] * 100}
        (base / name).write_bytes(pickle.dumps(content))
    (base / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {i}" for i in fine]}))
    monkeypatch.setattr(datasets.CIFAR100, "_check_integrity", lambda _: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = cifar100(root=str(tmp_path), val_size=0, num_workers=0, **OPTIONS)
    assert (data.num_classes, data.in_channels, data.classes[99]) == (100, 3, "class 99")
    assert data.test.labels.tolist() == fine
    images, _ = next(iter(data.test_loader()))
    assert torch.equal(images[0].flatten(), torch.from_numpy(pixels[0]))


def test_fashion_mnist_is_read_in_grey_from_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    for name in ("train", "t10k"):  # magic number, sizes, bytes
        (raw / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 0x803, 10, 28, 28) + pixels.tobytes()
        )
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2i", 0x801, 10) + bytes(range(10))
        )
    data = fashion_mnist(
        root="~", val_size=0, num_workers=0, **{**OPTIONS, "mean": [0.5], "std": [0.2]}
    )
    assert (data.num_classes, data.in_channels, data.classes[0]) == (10, 1, "T-shirt/top")
    images, labels = next(iter(data.test_loader()))
    assert images.shape == (4, 1, 28, 28)
    assert torch.equal(images[2, 0], torch.from_numpy(pixels[2]))
    assert labels.tolist() == [0, 1, 2, 3]
