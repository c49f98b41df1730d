import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import functional

from contnet.data import (
    ImageData,
    batches,
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    image_folder,
    tiny_imagenet,
)
from contnet.data.batches import Augmentation, batch_loader
from contnet.data.image_data import stratified_share
from contnet.data.images import ArrayImages
from contnet.data.randomness import keyed_generator

OPTIONS = {
    "mean": [0.5] * 3,
    "std": [0.2] * 3,
    "crop_padding": 1,
    "horizontal_flip": True,
    "batch_size": 4,
    "test_batch_size": 4,
    "split_seed": 0,
}
FOLDER = {**OPTIONS, "image_size": 8, "memory_gb": 1, "val_size": 0, "num_workers": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, n in (("train", 6), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = np.full((8, 8, 3), 100 * label + i, np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    return tmp_path


def test_each_image_of_a_batch_is_cropped_and_flipped_by_itself_as_a_slow_reference_does() -> None:
    pixels = torch.randint(0, 256, (64, 6, 6, 3), dtype=torch.uint8)
    augmentation = Augmentation(padding=2, flip=True)
    draws = augmentation.draw(64, keyed_generator(1))
    augmented = augmentation.apply(pixels, draws)
    for i, (top, left, flip) in enumerate(draws.tolist()):
        image = functional.pad(pixels[i].permute(2, 0, 1), [2])
        image = functional.crop(image, top, left, 6, 6)
        image = functional.hflip(image) if flip else image
        assert torch.equal(augmented[i], image.permute(1, 2, 0))
    assert set(draws[:, :2].flatten().tolist()) == set(range(5))
    assert 20 < draws[:, 2].sum() < 44
    assert not augmentation.draw(64, keyed_generator(2)).equal(draws)


def test_the_order_and_augmentation_of_an_epoch_follow_from_the_seed_and_the_epoch() -> None:
    images = ArrayImages(torch.randint(0, 256, (10, 4, 4, 1), dtype=torch.uint8), torch.arange(10))

    def epoch(seed: int, number: int, workers: int = 0) -> tuple[list[int], torch.Tensor]:
        augmentation = Augmentation(1, flip=True)
        loader = batch_loader(images, 4, seed=seed, augmentation=augmentation, num_workers=workers)
        loader.sampler.set_epoch(number)
        drawn = list(loader)
        return [label for _, labels in drawn for label in labels.tolist()], torch.cat(
            [x for x, _ in drawn]
        )

    labels, pixels = epoch(0, 3)
    assert sorted(labels) == list(range(10))
    assert epoch(0, 3)[0] == labels
    assert torch.equal(epoch(0, 3)[1], pixels)
    assert torch.equal(epoch(0, 3, workers=1)[1], pixels)
    assert epoch(0, 4)[0] != labels
    assert epoch(1, 3)[0] != labels


@pytest.mark.parametrize("n", [16, 17, 23])
@pytest.mark.parametrize("seed", [None, 5])
def test_processes_share_every_global_batch_as_one_process_would_see_it(
    n: int, seed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ArrayImages(torch.randint(0, 256, (n, 4, 4, 1), dtype=torch.uint8), torch.arange(n))
    augmentation = None if seed is None else Augmentation(1, flip=True)

    def dealt(rank: int, world_size: int, batch_size: int) -> list[dict[int, torch.Tensor]]:
        monkeypatch.setattr(batches, "rank_and_world_size", lambda: (rank, world_size))
        loader = batch_loader(images, batch_size, seed=seed, augmentation=augmentation)
        drawn = [dict(zip(labels.tolist(), pixels, strict=True)) for pixels, labels in loader]
        assert len(drawn) == len(loader)
        return drawn

    shares = [dealt(rank, world_size=2, batch_size=4) for rank in (0, 1)]
    together = [a | b for a, b in zip(*shares, strict=True)]
    assert sum(len(a) + len(b) for a, b in zip(*shares, strict=True)) == n
    one = dealt(0, world_size=1, batch_size=8)
    if n % 8 == 1:  # too few to go round: joined to the batch before
        one[-2:] = [one[-2] | one[-1]]
        together = [dict.fromkeys(batch) for batch in together]
        one = [dict.fromkeys(batch) for batch in one]
        assert together == one
    else:
        for batch, other in zip(together, one, strict=True):
            assert batch.keys() == other.keys()
            assert all(torch.equal(pixels, other[label]) for label, pixels in batch.items())


def test_the_validation_part_is_a_stratified_share_of_the_training_images_alone() -> None:
    labels = torch.tensor([0] * 40 + [1] * 20 + [2] * 10)
    chosen = stratified_share(labels, 0.1, seed=0)
    assert [int(chosen[labels == label].sum()) for label in range(3)] == [4, 2, 1]
    assert torch.equal(chosen, stratified_share(labels, 0.1, seed=0))
    assert not torch.equal(chosen, stratified_share(labels, 0.1, seed=1))


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
    assert torch.equal(with_val.test.take(torch.arange(359)), without.test.take(torch.arange(359)))
    assert (without.in_channels, without.num_classes) == (1, 10)


def test_an_image_folder_is_read_class_by_class(folder: Path) -> None:
    data = image_folder(root=str(folder), **FOLDER)
    data.load_train()
    data.load_test()
    assert data.classes == ("cat", "dog")
    images, labels = next(iter(data.test_loader()))
    assert images.shape == (4, 3, 8, 8)
    assert labels.tolist() == [0, 0, 1, 1]
    assert images[:, 0, 0, 0].tolist() == [0, 1, 100, 101]


def test_a_val_folder_is_used_as_it_is_and_a_share_of_train_without_one(folder: Path) -> None:
    assert len(image_folder(root=str(folder), **{**FOLDER, "val_size": None}).val.labels) == 2
    (folder / "test").rename(folder / "val")
    for name in ("cat", "dog"):
        (folder / "test" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "test" / name / "0.png")
    data = image_folder(root=str(folder), **{**FOLDER, "val_size": None})
    assert (len(data.train.labels), len(data.val.labels), len(data.test.labels)) == (12, 4, 2)
    assert image_folder(root=str(folder), **FOLDER).val is None
    with pytest.raises(ValueError, match="val_size must be null or 0 where root has a folder val/"):
        image_folder(root=str(folder), **{**FOLDER, "val_size": 0.5})


def test_images_of_any_mode_format_and_size_become_rgb_of_the_size_asked_for(folder: Path) -> None:
    Image.new("L", (30, 20), color=7).save(folder / "test" / "cat" / "0.png")
    Image.new("RGBA", (8, 8), color=(1, 2, 3, 4)).save(
        folder / "test" / "cat" / "1.webp", lossless=True
    )
    Image.new("P", (8, 8)).save(folder / "test" / "dog" / "0.gif")
    data = image_folder(root=str(folder), **FOLDER)
    data.load_test()
    images, _ = next(iter(data.test_loader()))
    assert images.shape == (4, 3, 8, 8)
    assert images[0].unique().tolist() == [7]


def test_images_that_do_not_fit_in_memory_are_decoded_by_workers_to_the_same_batches(
    folder: Path,
) -> None:
    on_disk = image_folder(root=str(folder), **{**FOLDER, "memory_gb": 0, "num_workers": 1})
    in_memory = image_folder(root=str(folder), **{**FOLDER, "num_workers": 1})
    in_memory.load_train()
    assert (on_disk.num_workers, in_memory.num_workers) == (1, 0)
    for (a, la), (b, lb) in zip(on_disk.train_loader(0), in_memory.train_loader(0), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(la, lb)


def test_what_is_wrong_with_a_folder_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"root must hold the folders .* has no train/"):
        image_folder(root="nowhere", **FOLDER)
    (folder / "test" / "eel").mkdir()
    with pytest.raises(ValueError, match="has the class 'eel', which train/ lacks"):
        image_folder(root=str(folder), **FOLDER)
    (folder / "test" / "eel").rmdir()
    (folder / "train" / "cat" / "0.png").write_text("no image")
    data = image_folder(root=str(folder), **FOLDER)
    with pytest.raises(ValueError, match=r"root: cannot use .*cat/0.png: not a readable image"):
        data.load_train()
    (folder / "train" / "cat" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"cat/0.png: the file is no longer there"):
        data.load_train()
    for file in (folder / "train" / "dog").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"the class folder .*train/dog' holds no image"):
        image_folder(root=str(folder), **FOLDER)


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


def test_fashion_mnist_is_read_in_grey(tmp_path: Path) -> None:
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
        root=str(tmp_path), val_size=0, num_workers=0, **{**OPTIONS, "mean": [0.5], "std": [0.2]}
    )
    assert (data.num_classes, data.in_channels, data.classes[0]) == (10, 1, "T-shirt/top")
    images, labels = next(iter(data.test_loader()))
    assert images.shape == (4, 1, 28, 28)
    assert torch.equal(images[2, 0], torch.from_numpy(pixels[2]))
    assert labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"val_size": 2}, "val_size must be a number at least 0 and less than 1, got 2"),
        ({"val_size": 0.001}, "val_size must be 0 or give every class a validation image"),
        ({"val_size": 0.999}, "val_size must leave training images in every class"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"mean": [0.5]}, "mean must be a list of 3 numbers"),
        ({"std": [0.5, 0, 1]}, "std must be greater than 0 in every channel"),
        ({"crop_padding": -1}, "crop_padding must be a whole number of at least 0, got -1"),
    ],
)
def test_options_out_of_range_are_refused(option: dict, message: str) -> None:
    images = ArrayImages(torch.zeros(100, 2, 2, 3, dtype=torch.uint8), torch.arange(100) % 10)
    with pytest.raises(ValueError, match=message):
        ImageData(
            images, images, "0123456789", **{**OPTIONS, "val_size": 0.1, "num_workers": 0, **option}
        )


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three classes of what tiny-imagenet-200 looks like when it is unpacked."""
    (tmp_path / "wnids.txt").write_text("n03\nn01\nn02\n")
    (tmp_path / "val" / "images").mkdir(parents=True)
    lines = []
    for label, name in enumerate(("n01", "n02", "n03")):
        (tmp_path / "train" / name / "images").mkdir(parents=True)
        for i in range(4):
            file = tmp_path / "train" / name / "images" / f"{name}_{i}.JPEG"
            Image.new(
                "L" if i == 0 else "RGB", (64, 64), 50 * label if i == 0 else (50 * label,) * 3
            ).save(file)
        file = f"val_{2 - label}.JPEG"
        Image.new("RGB", (64, 64), (50 * label,) * 3).save(tmp_path / "val" / "images" / file)
        lines.append(f"{file}\t{name}\t0\t0\t63\t63")
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


TINY = {**OPTIONS, "memory_gb": 1, "num_workers": 0, "val_size": 0.25}


@pytest.mark.parametrize("memory_gb", [0, 1])
def test_tiny_imagenet_is_read_as_it_is_unpacked(tiny: Path, memory_gb: float) -> None:
    data = tiny_imagenet(str(tiny), **{**TINY, "memory_gb": memory_gb})
    data.load_train()
    data.load_test()
    assert data.classes == ("n01", "n02", "n03")
    assert data.test.labels.tolist() == [0, 1, 2]
    everything = torch.arange(3)
    assert data.test.take(everything)[:, 0, 0, 0].tolist() == pytest.approx([0, 50, 100], abs=2)
    assert data.test.take(everything).shape == (3, 64, 64, 3)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.val is not None
    assert data.val.labels.tolist() == [0, 1, 2]


def test_a_tiny_imagenet_with_a_part_missing_is_refused(tiny: Path) -> None:
    annotations = tiny / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text().replace("n03", "n99"))
    with pytest.raises(
        ValueError,
        match=r"root: '.*val_annotations.txt' has the class 'n99', which wnids.txt lacks",
    ):
        tiny_imagenet(str(tiny), **TINY)
    for damaged, got in (
        (b"", "it is empty"),
        (b"val_0.JPEG\tn01\n\nval_\xff n01\n", r"line 3 is 'val_\ufffd n01'"),
    ):
        annotations.write_bytes(damaged)
        with pytest.raises(
            ValueError,
            match=rf"'.*val_annotations.txt' must hold a line for each image.*[;,] {got}",
        ):
            tiny_imagenet(str(tiny), **TINY)
    for unreadable, got in (
        (
            "val_0.JPEG\tn01\nval_9.JPEG\tn01\n",
            "has the image 'val_9.JPEG', which val/images/ lacks",
        ),
        (
            "val_0.JPEG\tn01\nval_0.JPEG\tn02\n",
            "must have each image once, it has 'val_0.JPEG' more often",
        ),
    ):
        annotations.write_text(unreadable)
        with pytest.raises(ValueError, match=rf"'.*val_annotations.txt' {got}"):
            tiny_imagenet(str(tiny), **TINY)
    annotations.unlink()
    annotations.mkdir()
    with pytest.raises(
        ValueError, match=r"root must be the unpacked folder tiny-imagenet-200; .* has no val/val_"
    ):
        tiny_imagenet(str(tiny), **TINY)


def test_other_pixels_or_labels_have_another_fingerprint(folder: Path) -> None:
    pixels, labels = torch.zeros(3, 2, 2, 1, dtype=torch.uint8), torch.arange(3)
    base = ArrayImages(pixels, labels).fingerprint()
    assert ArrayImages(pixels.clone(), labels).fingerprint() == base
    assert ArrayImages(pixels + 1, labels).fingerprint() != base
    assert ArrayImages(pixels, labels.flip(0)).fingerprint() != base
    files = image_folder(str(folder), **{**FOLDER, "memory_gb": 0}).test
    before = files.fingerprint()
    assert files.fingerprint() == before
    Image.new("RGB", (9, 9)).save(folder / "test" / "cat" / "0.png")
    assert files.fingerprint() != before
