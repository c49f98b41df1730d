"""The images of contnet-predict, and what it shows on the screen."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from omegaconf import ListConfig
from rich.console import Console
from rich.table import Table

from contnet.commands.failures import config_errors
from contnet.data.files import shown
from contnet.errors import ConfigError
from contnet.runs.folder import relative
from contnet.serving.files import ImageFile, find_images
from contnet.serving.report import PREDICTIONS, Confusion
from contnet.serving.stream import Row
from contnet.serving.trained import TrainedNetwork

MOST_ROWS = 20
"""Files, and classes, that are shown on the screen."""


def images_of(value: Any, network: TrainedNetwork) -> list[ImageFile]:
    """Return the files that the key `images` names.

    Raises:
        ConfigError: if there is none, or the network takes no images in files.
    """
    names = [*value] if isinstance(value, ListConfig) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"images must be a file, a pattern, a folder or a list, got {value!r}")
    with config_errors(""):
        files = find_images(names, network.classes)
        network.preprocessing.check_takes_files(files[0].path)
    return files


class Shown:
    """The beginning of the predictions, to show when all are made.

    Args:
        classes: names of the classes, in the order of the labels.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.n_files = 0
        self.n_unreadable = 0
        self._first: list[tuple[Row, int | None]] = []

    def add(self, rows: Sequence[Row], true: Sequence[int | None]) -> None:
        """Count predictions, and keep the first ones."""
        self.n_files += len(rows)
        self.n_unreadable += sum(row.reason is not None for row in rows)
        room = MOST_ROWS - len(self._first)
        self._first += islice(zip(rows, true, strict=True), max(0, room))

    def show(self, confusion: Confusion, folder: Path, start: Path) -> None:
        """Print the table of the first files, the accuracy of labelled ones, and what is written.

        Args:
            confusion: the counts of labelled images.
            folder: the folder of the command.
            start: the folder in which it was started.
        """
        console = Console(markup=False, emoji=False)  # names of files are no markup
        console.print(self._table())
        place = relative(folder, start)
        if self.n_files > len(self._first):
            more = self.n_files - len(self._first)
            console.print(f"and {more:,} more in {place / PREDICTIONS}", markup=False)
        if self.n_unreadable:
            console.print(f"{self.n_unreadable:,} of {self.n_files:,} cannot be read", markup=False)
        if confusion.n_images:
            console.print(_of_classes(confusion.of_each_class()))
            accuracy = confusion.n_correct / confusion.n_images
            console.print(
                f"accuracy {100 * accuracy:.2f} % of {confusion.n_images:,} images in folders "
                "with the name of a class",
                markup=False,
            )
        console.print(f"written to {place}", markup=False)

    def _table(self) -> Table:
        table = Table()
        table.add_column("file", overflow="fold")
        has_labels = any(label is not None for _, label in self._first)
        for heading in ("class", *(["true"] if has_labels else []), "probability", "next best"):
            table.add_column(heading, justify="right" if heading == "probability" else "left")
        for row, label in self._first:
            true = [self._name(label)] if has_labels else []
            table.add_row(shown(row.path), *self._cells(row, true))
        return table

    def _cells(self, row: Row, true: list[str]) -> Iterable[str]:
        if row.reason is not None:
            return ["-", *true, "-", row.reason]
        following = f"{self._name(row.next_label)} ({_percent(row.next_probability)})"
        return [self._name(row.label), *true, _percent(row.probability), following]

    def _name(self, label: int | None) -> str:
        return "-" if label is None else self.classes[label]


def _percent(probability: float | None) -> str:
    return "-" if probability is None else f"{100 * probability:.1f} %"


def _of_classes(rows: Sequence[dict[str, Any]]) -> Table:
    """Return a table of the accuracy of each class, the lowest ones if there are many."""
    is_short = len(rows) <= MOST_ROWS
    title = "accuracy by class" if is_short else f"the {MOST_ROWS} classes of the lowest accuracy"
    table = Table("class", title=title)
    for heading in ("images", "accuracy"):
        table.add_column(heading, justify="right")
    lowest = sorted(rows, key=lambda row: row["accuracy"])[:MOST_ROWS]
    for row in rows if is_short else lowest:
        table.add_row(row["class"], f"{row['images']:,}", _percent(row["accuracy"]))
    return table
