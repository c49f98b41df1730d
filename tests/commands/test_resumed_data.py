"""A run that is resumed has the classes it was trained on; another number of images is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run

OPTIONS = (
    "dataset=image_folder",
    "dataset.root=pets",
    "dataset.image_size=8",
    "dataset.val_size=0",
    "model.alpha=2",
)
RESUMED = ("ckpt_path=last", "hydra.run.dir=run", "epochs=2")


@pytest.fixture
def pets(run: Run, tmp_path: Path) -> Path:
    """Return a folder of ants, bees and cows on which `run` was trained for an epoch."""
    root = tmp_path / "pets"
    for split in ("train", "test"):
        for value, name in enumerate(("ant", "bee", "cow")):
            (root / split / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (8, 8), (80 * value, i, 0)).save(root / split / name / f"{i}.png")
    code, _, err = run("train", *OPTIONS, "epochs=1", "hydra.run.dir=run")
    assert code == 0, err
    return root


def renamed(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "ant").rename(root / split / "zebra")


def one_more(root: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(root / split / "ant", root / split / "dog")


def one_less(root: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(root / split / "cow")


@pytest.mark.parametrize("change", [renamed, one_more, one_less])
def test_other_classes_are_refused_by_both_commands_alike(
    change: Callable[[Path], None], pets: Path, run: Run
) -> None:
    change(pets)
    found = ", ".join(sorted(folder.name for folder in (pets / "train").iterdir())[:3])
    for command, *options in (
        ("train", *RESUMED),
        ("train", *OPTIONS, "epochs=2", "ckpt_path=run/checkpoints/last.ckpt"),
        ("evaluate", "ckpt_path=run/checkpoints/last.ckpt"),
    ):
        code, _, err = run(command, *options)
        assert (code, err.count("\n")) == (1, 1), err
        assert "error: dataset.root must hold the classes that '" in err
        assert f"last.ckpt' was trained on, ant, bee, cow; it holds {found}" in err


def test_another_number_of_training_images_is_told(pets: Path, run: Run) -> None:
    code, out, _ = run("train", *RESUMED)
    assert code == 0
    assert "training images" not in out
    for i in (0, 1):
        (pets / "train" / "ant" / f"{i}.png").unlink()
    code, out, _ = run("train", *RESUMED[:2], "epochs=3")
    assert code == 0
    assert "ckpt_path was trained on 12 training images, here are 10" in out


def test_a_result_says_how_many_images_could_not_be_read(pets: Path, run: Run) -> None:
    assert "unreadable_images" not in json.loads(Path("run/result.json").read_text())
    (pets / "train" / "bee" / "1.png").write_text("no image")
    (pets / "test" / "cow" / "1.png").write_text("no image")
    code, _, err = run("train", *OPTIONS, "epochs=1")
    assert code == 1
    assert "bee/1.png: not a readable image; dataset.skip_unreadable=true leaves it out" in err
    options = (*OPTIONS, "dataset.skip_unreadable=true", "hydra.run.dir=skipped")
    code, out, _ = run("train", *options, "epochs=1")
    assert code == 0
    assert "dataset.skip_unreadable=true leaves out 1 of 12 images: pets/train/bee/1.png" in out
    result = json.loads(Path("skipped/result.json").read_text())
    assert result["unreadable_images"] == {"train": 1, "val": 0, "test": 1}


def test_images_of_other_channels_are_refused(run: Run, trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "digits"
    for split in ("train", "test"):
        for name in "0123456789":
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(root / split / name / "0.png")
    words = ("dataset=image_folder", "dataset.root=digits", "dataset.val_size=0", "epochs=3")
    code, _, err = run("train", "ckpt_path=run/checkpoints/last.ckpt", "model.alpha=2", *words)
    assert (code, err.count("\n")) == (1, 1)
    assert "error: dataset must have images of 1 channel, on which 'run/checkpoints/last.c" in err
