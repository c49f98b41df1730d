from pathlib import Path

import pytest
import torch
from PIL import Image

from contnet.data import (
    tiny_imagenet,
)
from tests.data.options import OPTIONS

TINY = {**OPTIONS, "memory_gb": 1, "num_workers": 0, "val_size": 0.25}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Write three classes in the layout of an unpacked tiny-imagenet-200."""
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


@pytest.mark.parametrize("memory_gb", [0, 1])
def test_tiny_imagenet_is_read_as_it_is_unpacked(tiny: Path, memory_gb: float) -> None:
    data = tiny_imagenet(str(tiny), **{**TINY, "memory_gb": memory_gb})
    data.load_train()
    data.load_test()
    assert data.classes == ("n01", "n02", "n03")
    assert data.test.labels.tolist() == [0, 1, 2]
    everything = torch.arange(3)
    pixels, labels = data.test.take(everything)
    assert pixels[:, 0, 0, 0].tolist() == pytest.approx([0, 50, 100], abs=2)
    assert (pixels.shape, labels.tolist()) == ((3, 64, 64, 3), [0, 1, 2])
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


def test_a_tiny_imagenet_is_read_without_what_is_no_image(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    images = tiny / "train" / "n01" / "images"
    (images / "._n01_0.JPEG").write_bytes(b"resource fork")
    (images / "n01_boxes.txt").touch()
    (images / "n01_3.JPEG").write_bytes(b"no image")
    monkeypatch.setenv("HOME", str(tiny.parent))
    with caplog.at_level("INFO"):
        data = tiny_imagenet(f"~/{tiny.name}", **{**TINY, "val_size": 0, "skip_unreadable": True})
        data.load_train()
    assert (len(data.train), data.n_unreadable["train"]) == (11, 1)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tiny}: 3 classes; images: 12 in train, 3 in test; left out: hidden 1, no image format 1 "
        "(.txt)",
        "dataset.skip_unreadable=true leaves out 1 of 12 images: "
        f"{images}/n01_3.JPEG: not a readable image",
    ]
