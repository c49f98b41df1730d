"""`metrics.csv`: the figures of a run, a row an epoch, in a file that is whole at any time."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class MetricsFile(Logger):
    """Writes figures as they come, those of one step into one row.

    Args:
        path: the file.
        ckpt_path: the checkpoint that the run is resumed from, if it is: rows that are there already then stay, but for
            those that the resumed run computes again, and the result of an end that is none any more.
    """

    def __init__(self, path: str, ckpt_path: str | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self._rows: dict[int, dict[str, Any]] = {}
        if ckpt_path is not None and self.path.exists():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if not _is_final(row)]
            self._rows = {int(row["step"]): row for row in kept}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """They are in .hydra/."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if step is None:
            return
        self._rows = {known: row for known, row in self._rows.items() if known <= step}
        self._rows.setdefault(step, {"step": step}).update(metrics)
        columns = [
            "epoch",
            "step",
            *sorted({key for row in self._rows.values() for key in row} - {"epoch", "step"}),
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{self.path.name}")
        with unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self._rows.values())
        unfinished.replace(self.path)


def _is_final(row: dict[str, Any]) -> bool:
    return any(value for key, value in row.items() if key.startswith("test_"))
