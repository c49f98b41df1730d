import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from contnet.data import (
    image_folder,
)
from tests.data.options import FOLDER


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


@pytest.mark.parametrize("split", ["val", "test"])
def test_validation_and_test_images_may_lack_a_class(split: str, folder: Path) -> None:
    for name in ("cat", "dog"):
        shutil.copytree(folder / "train" / name, folder / "val" / name)
    shutil.rmtree(folder / split / "cat")
    data = image_folder(root=str(folder), **{**FOLDER, "val_size": None})
    assert data.classes == ("cat", "dog")
    images = {"val": data.val, "test": data.test}[split]
    assert images is not None
    assert set(images.labels.tolist()) == {1}
    shutil.rmtree(folder / split / "dog")
    with pytest.raises(ValueError, match=rf"root: '.*/{split}' holds no image"):
        image_folder(root=str(folder), **{**FOLDER, "val_size": None})
    shutil.rmtree(folder / "train" / "dog")
    with pytest.raises(ValueError, match=r"at least 2 classes, each a folder; '.*/train' has 1"):
        image_folder(root=str(folder), **{**FOLDER, "val_size": None})


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
