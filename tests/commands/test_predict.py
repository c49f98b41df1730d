"""contnet-predict: from files to a table, in one command."""

import csv
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
        (["ckpt_path=run", "images=[]"], "images must be a file, a pattern, a folder or a list"),
        (
            ["ckpt_path=no", "images=photos"],
            "ckpt_path must be a checkpoint file; there is none at",
        ),
        (
            ["ckpt_path=photos", "images=photos"],
            "ckpt_path=last finds no checkpoints/last.ckpt in ph",
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
