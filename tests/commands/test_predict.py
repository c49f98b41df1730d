"""contnet-predict: from files to a table, in one command."""

import csv
import os
from pathlib import Path

import pytest
from PIL import Image

from contnet.data import digits
from tests.conftest import Run

OPTIONS = {
    "batch_size": 8,
    "test_batch_size": 8,
    "val_size": 0.1,
    "split_seed": 0,
    "num_workers": 0,
}


@pytest.fixture
def photos(tmp_path: Path, trained: Path) -> Path:
    """Return a folder of digits, in a folder for each class."""
    test = digits(**OPTIONS).test
    for number in range(30):
        pixels, label = test.pixels[number, :, :, 0], test.labels[number]
        folder = tmp_path / "photos" / str(label.item())
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    return tmp_path / "photos"


def table(folder: Path) -> list[dict[str, str]]:
    with next(folder.glob("outputs/predict/*/*/predictions.csv")).open(newline="") as file:
        return list(csv.DictReader(file))


def test_labelled_images_have_a_confusion_matrix(run: Run, photos: Path) -> None:
    (photos / "3" / "bad.png").write_bytes(b"")
    code, out, err = run(
        "predict",
        "ckpt_path=run",
        "images=photos",
        "batch_size=16",
        "num_workers=0",
        "n_time_steps=2",
    )
    assert (code, err) == (0, "")
    rows = table(photos.parent)
    assert len(rows) == 31
    assert [row["file"] for row in rows if row["unreadable"]] == ["photos/3/bad.png"]
    right = sum(row["class"] == row["true"] for row in rows if not row["unreadable"])
    assert f"accuracy {100 * right / 30:.2f} % of 30 images" in out
    assert "and 11 more in outputs/predict/" in out
    assert "1 of 31 cannot be read" in out
    folder = next(photos.parent.glob("outputs/predict/*/*"))
    names = {"classes.csv", "confusion.csv", "confusion.png", "predictions.csv", "predict.log"}
    assert names <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ckpt_path=run"], "images must be given, as images=..."),
        (
            ["ckpt_path=run", "images=no"],
            "images must name at least one image; there is none at 'no'",
        ),
        (["ckpt_path=run", f"images={'a' * 300}"], "images: cannot read aaa"),
        (["ckpt_path=run", "images=[]"], "images must be a file, a pattern, a folder or a list"),
        (
            ["ckpt_path=no", "images=photos"],
            "ckpt_path must be a checkpoint file; there is none at",
        ),
        (
            ["ckpt_path=photos", "images=photos"],
            "ckpt_path must be a file, or the folder of one run",
        ),
        (["ckpt_path=run", "images=photos", "scheme=rk5"], "scheme must be one of euler, midpoint"),
        (
            ["ckpt_path=run", "images=photos", "n_time_steps=0"],
            "n_time_steps must be a whole number",
        ),
        (
            ["ckpt_path=run", "images=photos", "device=tpu"],
            "device must be one of auto, cpu, cuda,",
        ),
        (
            ["ckpt_path=run", "images=photos", "device=cuda:99"],
            "device=cuda:99 is not on this machine",
        ),
        (["ckpt_path=run", "images=photos", "batch_size=no"], "batch_size must be a whole number"),
        (["ckpt_path=run", "images=photos", "steps=2"], "steps is not a key"),
        (["ckpt_path=run", "images=photos", "trust=[os, 3]"], "trust must be a list of modules"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    words: list[str], message: str, run: Run, photos: Path
) -> None:
    code, _, err = run("predict", *words)
    assert (code, err.count("\n")) == (1, 1), err
    assert err.startswith(f"error: {message}")
    assert not (photos.parent / "outputs").exists()


def test_brackets_in_names_are_no_markup(run: Run, photos: Path) -> None:
    folder = photos.parent / "im[/x]"
    folder.mkdir(parents=True)
    (photos / "1").rename(folder / "[bold]1")
    code, out, err = run("predict", "ckpt_path=run", 'images="im[/x]"', "num_workers=0")
    assert (code, err) == (0, "")
    assert "im[/x]/[bold]1/" in out


def test_a_pipe_among_the_images_is_a_row_with_a_reason(run: Run, photos: Path) -> None:
    os.mkfifo(photos / "1" / "pipe.png")
    code, _, _ = run("predict", "ckpt_path=run", "images=photos/1/*.png", "num_workers=0")
    assert code == 0
    assert [row["unreadable"] for row in table(photos.parent) if row["unreadable"]] == [
        "a pipe or a device, no file"
    ]


def test_a_command_whose_images_cannot_be_read_fails(run: Run, photos: Path) -> None:
    for file in (photos / "1").iterdir():
        file.write_bytes(b"")
    code, _, err = run("predict", "ckpt_path=run", "images=photos/1", "num_workers=0")
    assert code == 1
    assert "error: none of " in err


@pytest.mark.parametrize("command", ["predict", "export"])
def test_a_command_that_torchrun_starts_twice_is_refused(
    command: str, run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run(command, "ckpt_path=run", "images=photos")
    assert (code, err.count("\n")) == (1, 1)
    assert f"python {command}.py runs in one process; torchrun has started 2" in err
