"""Images that cannot be read: each is named with its reason, or left out on request."""

import builtins
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from contnet.data import ImageData, image_folder
from tests.data.options import FOLDER


def read(folder: Path, **options: Any) -> ImageData:
    return image_folder(root=str(folder), **{**FOLDER, **options})


@pytest.fixture
def damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of which four training images of cats cannot be read, for four reasons."""
    cat = folder / "train" / "cat"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (20, 20)).save(cat / "0.png")
    (cat / "1.png").write_text("no image")
    (cat / "2.png").write_bytes(b"")
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(noise).save(cat / "3.png")
    content = (cat / "3.png").read_bytes()
    (cat / "3.png").write_bytes(content[: len(content) // 2])
    return folder


REASONS = {
    "0.png": "too many pixels, more than 200",
    "1.png": "not a readable image",
    "2.png": "an empty file",
    "3.png": "damaged: ",
}


def test_each_unreadable_image_is_named_with_its_own_reason(damaged: Path) -> None:
    with pytest.raises(ValueError, match=r"^root: cannot use 4 images: ") as raised:
        read(damaged).load_train()
    for name, reason in REASONS.items():
        assert f"{damaged}/train/cat/{name}: {reason}" in str(raised.value)
    assert str(raised.value).endswith("; dataset.skip_unreadable=true leaves them out")
    assert "\n" not in str(raised.value)


def test_the_first_five_are_named_and_all_are_counted(damaged: Path) -> None:
    for i in range(6):
        (damaged / "train" / "dog" / f"{i}.png").write_text("no image")
    with pytest.raises(ValueError, match=r"cannot use 10 images: .* and 5 more; ") as raised:
        read(damaged, val_size=0.5).load_train()  # some of them are validation images
    assert str(raised.value).count(".png: ") == 5
    assert "dog/0.png" in str(raised.value)
    assert "dog/1.png" not in str(raised.value)


def test_a_single_one_is_named(folder: Path) -> None:
    (folder / "test" / "dog" / "0.png").write_text("no image")
    message = (
        r"^root: cannot use .*/test/dog/0.png: not a readable image; "
        r"dataset.skip_unreadable=true leaves it out$"
    )
    with pytest.raises(ValueError, match=message):
        read(folder).load_test()


def test_images_in_a_folder_that_may_not_be_entered_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read(folder)
    cat = folder / "train" / "cat"

    def refused(function: Any) -> Any:
        def call(path: Any, *arguments: Any, **options: Any) -> object:
            if Path(path).parent == cat:
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for module, name in ((io, "open"), (builtins, "open"), (os, "stat"), (os, "lstat")):
            patch.setattr(module, name, refused(getattr(module, name)))
        with pytest.raises(ValueError, match=r"cannot use 6 images: .*no permission.*them out$"):
            data.load_train()


@pytest.mark.parametrize(("name", "reason"), REASONS.items())
def test_without_memory_it_is_named_when_it_is_met(name: str, reason: str, damaged: Path) -> None:
    for other in set(REASONS) - {name}:
        (damaged / "train" / "cat" / other).unlink()
    data = read(damaged, memory_gb=0, num_workers=int(name == "3.png"))
    data.load_train()
    with pytest.raises(ValueError, match=rf"root: cannot use .*cat/{name}: {reason}"):
        list(data.train_loader(0))


@pytest.mark.parametrize("memory_gb", [0, 1])
def test_unreadable_images_are_left_out_on_request_and_counted(
    memory_gb: float, damaged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (damaged / "test" / "dog" / "0.png").write_text("no image")
    data = read(damaged, memory_gb=memory_gb, skip_unreadable=True)
    data.load_train()
    data.load_test()
    pixels, labels = data.train.take(torch.arange(len(data.train)))
    assert labels.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert pixels[:, 0, 0, 0].tolist() == [4, 5, 100, 101, 102, 103, 104, 105]
    assert data.test.labels.tolist() == [0, 0, 1]
    assert data.n_unreadable == {"train": 4, "val": 0, "test": 1}
    messages = (record.getMessage() for record in caplog.records)
    first, second = (told for told in messages if told.startswith("dataset.skip_unreadable"))
    assert first.startswith("dataset.skip_unreadable=true leaves out 4 of 12 images: ")
    assert f"{damaged}/train/cat/2.png: an empty file" in first
    assert second.startswith("dataset.skip_unreadable=true leaves out 1 of 4 images: ")


def test_readable_images_are_the_same_with_and_without_the_request(folder: Path) -> None:
    plain, asked = read(folder, val_size=0.5), read(folder, val_size=0.5, skip_unreadable=True)
    for data in (plain, asked):
        data.load_train()
    assert torch.equal(plain.train.take(torch.arange(6))[0], asked.train.take(torch.arange(6))[0])
    assert asked.n_unreadable == {"train": 0, "val": 0, "test": 0}


@pytest.mark.parametrize("memory_gb", [0, 1])
def test_a_class_that_loses_all_its_images_is_refused_by_name(
    memory_gb: float, folder: Path
) -> None:
    for file in (folder / "train" / "dog").iterdir():
        file.write_text("no image")
    data = read(folder, memory_gb=memory_gb, skip_unreadable=True)
    with pytest.raises(ValueError, match="root: no training image of the class 'dog' can be read"):
        data.load_train()
    for file in (folder / "test").rglob("*.png"):
        file.write_text("no image")
    with pytest.raises(ValueError, match="root: none of 4 images can be read; "):
        data.load_test()


def test_skip_unreadable_is_true_or_false(folder: Path) -> None:
    with pytest.raises(ValueError, match="skip_unreadable must be true or false, got 1"):
        read(folder, skip_unreadable=1)
