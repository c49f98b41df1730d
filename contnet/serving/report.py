"""The predictions of files as a table, and what they say of labelled images."""

import csv
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from contnet import drawing
from contnet.runs.atomic import write_atomically
from contnet.runs.tables import write_csv
from contnet.serving.stream import Row

PREDICTIONS = "predictions.csv"
COLUMNS = ("file", "class", "probability", "next_class", "next_probability", "true", "unreadable")


class PredictionsFile:
    """The file of predictions, which grows as they are made.

    What is predicted before an interruption stays in it.

    Args:
        folder: the folder to write it to.
        classes: names of the classes, in the order of the labels.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.path = folder / PREDICTIONS
        self.classes = classes
        self._file = self.path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, rows: Iterable[Row], true: Iterable[int | None]) -> None:
        """Append predictions, and the true labels where they are known."""
        for row, label in zip(rows, true, strict=True):
            self._writer.writerow(
                [
                    row.path,
                    self._name(row.label),
                    _rounded(row.probability),
                    self._name(row.next_label),
                    _rounded(row.next_probability),
                    self._name(label),
                    row.reason,
                ]
            )
        self._file.flush()

    def _name(self, label: int | None) -> str | None:
        return None if label is None else self.classes[label]


def _rounded(probability: float | None) -> str | None:
    return None if probability is None else f"{probability:.6f}"


class Confusion:
    """How often images of each class are taken for each class.

    Args:
        classes: names of the classes, in the order of the labels.

    `counts` holds numbers of images, int64 (true class, predicted class).
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.counts: Tensor = torch.zeros(len(classes), len(classes), dtype=torch.long)

    def add(self, rows: Iterable[Row], true: Iterable[int | None]) -> None:
        """Count predictions of files whose true label is known, and that can be read."""
        for row, label in zip(rows, true, strict=True):
            if label is not None and row.label is not None:
                self.counts[label, row.label] += 1

    @property
    def n_images(self) -> int:
        """The number of images that are counted."""
        return int(self.counts.sum())

    @property
    def n_correct(self) -> int:
        """The number of images whose class is right."""
        return int(self.counts.trace())

    def of_each_class(self) -> list[dict[str, Any]]:
        """Return the number of images and the accuracy of each class that has images."""
        rows = []
        for label, name in enumerate(self.classes):
            n_images, n_correct = int(self.counts[label].sum()), int(self.counts[label, label])
            if n_images:
                accuracy = n_correct / n_images
                rows.append(
                    {"class": name, "images": n_images, "correct": n_correct, "accuracy": accuracy}
                )
        return rows

    def write(self, folder: Path) -> list[Path]:
        """Write the matrix as a picture and as a table, and the accuracy of each class."""
        matrix, each, picture = (
            folder / name for name in ("confusion.csv", "classes.csv", "confusion.png")
        )
        write_csv(
            matrix,
            [
                {"true": name, **dict(zip(self.classes, row, strict=True))}
                for name, row in zip(self.classes, self.counts.tolist(), strict=True)
            ],
        )
        write_csv(each, self.of_each_class())
        content = BytesIO()
        Image.fromarray(drawing.confusion(self.counts, self.classes)).save(content, "PNG")
        write_atomically(picture, content.getbuffer())
        return [matrix, each, picture]
