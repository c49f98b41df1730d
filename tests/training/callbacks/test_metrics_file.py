import csv
from pathlib import Path

from contnet.training.callbacks.metrics_file import MetricsFile


def test_metrics_keep_the_rows_before_the_checkpoint_and_replace_those_after(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.csv"
    first = MetricsFile(str(path))
    for step in (1, 2, 3):
        first.log_metrics({"epoch": step, "loss": float(step)}, step)
        first.log_metrics({"accuracy": 0.5}, step)
    resumed = MetricsFile(str(path), ckpt_path="last.ckpt")
    resumed.log_metrics({"epoch": 2, "loss": 9.0}, 2)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["loss"], row["accuracy"]) for row in rows] == [
        ("1", "1.0", "0.5"),
        ("2", "9.0", "0.5"),
    ]
    MetricsFile(str(path)).log_metrics({"loss": 7.0}, 0)
    assert path.read_text().splitlines() == ["epoch,step,loss", ",0,7.0"]
