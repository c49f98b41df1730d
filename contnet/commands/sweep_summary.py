"""The end of a sweep: one table over all its jobs."""

import json
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any, ClassVar

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from contnet.errors import ConfigError
from contnet.processes import rank
from contnet.runs.resume import LAST
from contnet.runs.tables import write_csv

FIGURES = ("test_accuracy", "test_loss", "train_seconds")


class SweepSummary(Callback):
    """Ends a sweep with `sweep_jobs.csv` (a row for each job) and `sweep.csv` (mean and standard deviation over seeds),
    and shows the latter. Both are read off what the jobs have left in their folders, so any launcher will do."""

    directory: ClassVar[Path | None] = None
    """The folder of the sweep that is running in this process."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if rank() > 0:
            return
        SweepSummary.directory = Path(config.hydra.sweep.dir)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if (
            rank() > 0
            or config.hydra.mode != RunMode.MULTIRUN
            or job_return.status != JobStatus.FAILED
        ):
            return
        error, folder = job_return._return_value, Path(config.hydra.runtime.output_dir)
        told = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ConfigError) and (folder / LAST).exists():
            # Refused: it has no part in what the folder holds of another job.
            print(
                f"job {folder.name} ({' '.join(config.hydra.overrides.task)}) is left out: {told}",
                file=sys.stderr,
            )
            return
        result = folder / "result.json"
        if not result.exists() or "error" in json.loads(result.read_text()):
            failed = {"error": told, "overrides": list(config.hydra.overrides.task)}
            result.write_text(json.dumps(failed, indent=2))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if rank() > 0:
            return
        write_summary(Path(config.hydra.sweep.dir))


def write_summary(folder: Path) -> None:
    """Write and show the tables of a sweep whose jobs have ended, if there are any. Hydra leaves out `on_multirun_end`
    where a job has failed: the entry point then calls this itself."""
    jobs = [_job(path) for path in sorted(folder.glob("*/result.json"), key=_job_number)]
    if not jobs:
        return
    groups = summarise(jobs)
    write_csv(folder / "sweep_jobs.csv", jobs)
    write_csv(folder / "sweep.csv", groups)
    _show(groups, [job for job in jobs if "error" in job], folder / "sweep.csv")


def summarise(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs that differ in nothing but the seed become one row: overrides, runs, and mean and standard deviation of each
    figure (a standard deviation takes two runs). Failed jobs count as `failed`."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        but_seed = [
            override for override in job["overrides"].split() if not override.startswith("seed=")
        ]
        groups.setdefault(" ".join(but_seed), []).append(job)
    rows = []
    for overrides, members in groups.items():
        done = [job for job in members if "error" not in job]
        row: dict[str, Any] = {
            "overrides": overrides,
            "runs": len(done),
            "failed": len(members) - len(done),
        }
        for name in FIGURES:
            values = [job[name] for job in done]
            row[f"{name}_mean"] = mean(values) if values else None
            row[f"{name}_std"] = stdev(values) if len(values) > 1 else None
        row["parameters"] = done[0]["parameters"] if done else None
        rows.append(row)
    return rows


def _job_number(result: Path) -> tuple[int, str]:
    name = result.parent.name
    return (int(name) if name.isdigit() else 0, name)


def _job(path: Path) -> dict[str, Any]:
    result = json.loads(path.read_text())
    kept = {key: value for key, value in result.items() if key not in ("versions", "overrides")}
    return {"job": path.parent.name, "overrides": " ".join(result.get("overrides", [])), **kept}


def _show(groups: list[dict[str, Any]], failed: list[dict[str, Any]], path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="mean ± standard deviation over seeds")
    table.add_column("overrides", overflow="fold")
    for heading in ("runs", "accuracy", "loss", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in groups:
        figures = [
            _mean_and_deviation(row, name, digits=1 if name == "train_seconds" else 4)
            for name in FIGURES
        ]
        table.add_row(row["overrides"] or "(defaults)", str(row["runs"]), *figures)
    console = Console()
    console.print(table)
    for job in failed:
        console.print(f"job {job['job']} ({job['overrides']}) failed: {job['error']}", markup=False)
    console.print(f"written to {path}", markup=False)


def _mean_and_deviation(row: dict[str, Any], name: str, digits: int) -> str:
    average, deviation = row[f"{name}_mean"], row[f"{name}_std"]
    if average is None:
        return "-"
    return f"{average:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")
