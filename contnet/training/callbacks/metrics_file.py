"""`metrics.csv`: the metrics of a run, one row for each epoch."""

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from contnet.runs.atomic import write_atomically


class MetricsFile(Logger):
    """A logger that writes the metrics of each step into one row of a CSV file, atomically.

    Args:
        path: the file.
        ckpt_path: the checkpoint that the run is resumed from; None starts a new file. A resumed
            run keeps the rows of the file, without the test metrics of its earlier end. It
            replaces the rows of the steps that it computes again.
    """

    def __init__(self, path: str, ckpt_path: str | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        resumed = ckpt_path is not None and self.path.exists()
        self._rows = _unfinished(self.path) if resumed else {}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the record of the run holds the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if step is None:
            return
        self._rows = {
            known: row
            for known, row in self._rows.items()
            if known == step or (known < step and not _are_of_one_epoch(row, metrics))
        }
        self._rows.setdefault(step, {"step": step}).update(metrics)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, _as_csv(self._rows.values()))


def _are_of_one_epoch(row: dict[str, Any], metrics: dict[str, float]) -> bool:
    """Return True for the figures of an epoch that was ended early, and of the whole epoch."""
    both = row.get("train_loss") and "train_loss" in metrics
    return bool(both) and float(row["epoch"]) == metrics["epoch"]


def _unfinished(path: Path) -> dict[int, dict[str, Any]]:
    """Return the rows of the file by their step, without those of test metrics.

    Raises:
        ValueError: if the file is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if not _has_test_metrics(row)]
            return {int(row["step"]): row for row in rows}
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise ValueError(
            f"path must be a table of metrics, or a file that does not exist yet; {str(path)!r} is "
            f"damaged ({error})"
        ) from error


def _has_test_metrics(row: dict[str, Any]) -> bool:
    return any(value for key, value in row.items() if key.startswith("test_"))


def _as_csv(rows: Iterable[dict[str, Any]]) -> bytes:
    rows = list(rows)
    names = {name for row in rows for name in row} - {"epoch", "step"}
    text = StringIO(newline="")
    writer = csv.DictWriter(text, ["epoch", "step", *sorted(names)])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
