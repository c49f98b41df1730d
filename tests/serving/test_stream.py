"""Predictions of files: in their order, and with a reason where a file cannot be read."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from contnet.serving.report import Confusion, PredictionsFile
from contnet.serving.stream import Decoding, Row, predict_files
from contnet.serving.strokes import only_strokes
from tests.serving.made import CLASSES, NETWORKS, images, trained


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return five images, of which the second and the fifth are damaged."""
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, pixels in zip(paths, images(5), strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    paths[1].write_bytes(b"no image")
    paths[4].unlink()
    return paths


@pytest.mark.parametrize("decoding", [Decoding(2), Decoding(1), Decoding(100), Decoding(2, 2)])
def test_files_are_predicted_in_order_and_unreadable_ones_have_a_reason(
    decoding: Decoding, files: list[Path]
) -> None:
    net = trained(NETWORKS["post-activation"])
    batches = list(predict_files(net, files, decoding))
    assert len(batches) == decoding.n_batches(len(files))
    rows = [row for batch in batches for row in batch]
    assert [row.path for row in rows] == files
    assert rows[1].reason == "not a readable image"
    assert rows[4].reason == "the file is no longer there"
    expected = net.predict(images(5))
    for number in (0, 2, 3):
        row = rows[number]
        values, labels = expected.probabilities[number].topk(2)
        assert (row.reason, [row.label, row.next_label]) == (None, labels.tolist())
        assert [row.probability, row.next_probability] == pytest.approx(values.tolist(), rel=1e-5)


def test_strokes_are_predicted_where_they_are_asked_for(files: list[Path]) -> None:
    net = trained(NETWORKS["post-activation"])
    (first,), _ = (rows for rows in predict_files(net, files[:2], Decoding(1, strokes=True)))
    with Image.open(files[0]) as image:
        expected = net.predict(only_strokes(image)).probabilities.max().item()
    assert first.probability == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("ink", "paper"), [(40, 205), (250, 20)])
def test_strokes_are_white_on_black_and_fill_a_square(ink: int, paper: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(paper, 4, (60, 90))
    pixels[10:50, 30:40] = ink  # a bar of 40 x 10 pixels
    strokes = np.asarray(only_strokes(Image.fromarray(pixels.clip(0, 255).astype(np.uint8))))
    expected = np.zeros((40, 40), dtype=np.uint8)
    expected[:, 15:25] = 255
    assert (strokes == expected).all()
    blank = only_strokes(Image.new("RGB", (5, 7), "white"))
    assert (blank.size, blank.getextrema()) == ((5, 7), (0, 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"num_workers": -1}, "num_workers must be a whole number of at least 0"),
        ({"strokes": "no"}, "strokes must be true or false"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decoding(**arguments)


ROWS = [
    Row(Path("a,b.png"), 0, 0.75, 1, 0.25),
    Row(Path("\udcff.png"), 1, 0.5, 2, 0.5),
    Row(Path("c.png"), reason='damaged: "x"'),
    Row(Path("d.png"), 1, 1.0, 0, 0.0),
]
TRUE = [0, 0, 1, None]


def test_what_was_predicted_before_an_error_is_in_the_file(tmp_path: Path) -> None:
    def interrupted() -> None:
        with PredictionsFile(tmp_path, CLASSES) as table:
            table.add(ROWS, TRUE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (tmp_path / "predictions.csv").open(newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(row.path) for row in ROWS]
    assert [row["class"] for row in rows] == ["cat", "dog", "", "dog"]
    assert [row["next_class"] for row in rows] == ["dog", "é", "", "cat"]
    assert [row["probability"] for row in rows] == ["0.750000", "0.500000", "", "1.000000"]
    assert [row["true"] for row in rows] == ["cat", "cat", "dog", ""]
    assert [row["unreadable"] for row in rows] == ["", "", 'damaged: "x"', ""]


def test_the_confusion_matrix_counts_labelled_images_that_can_be_read(tmp_path: Path) -> None:
    confusion = Confusion(CLASSES)
    confusion.add(ROWS, TRUE)
    assert torch.equal(confusion.counts, torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 0]]))
    assert (confusion.n_images, confusion.n_correct) == (2, 1)
    assert confusion.of_each_class() == [
        {"class": "cat", "images": 2, "correct": 1, "accuracy": 0.5}
    ]
    written = confusion.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    matrix = (tmp_path / "confusion.csv").read_text().splitlines()
    assert matrix == ["true,cat,dog,é", "cat,1,1,0", "dog,0,0,0", "é,0,0,0"]
    with Image.open(tmp_path / "confusion.png") as picture:
        assert min(picture.size) > 100
