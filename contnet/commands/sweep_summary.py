"""The end of a sweep: tables over its jobs.

The tables are read from the results that the jobs have written to their folders. So they do not
depend on the launcher, and they cover jobs that an earlier run of the sweep finished.
"""

import json
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from contnet.commands.job import Job
from contnet.errors import ConfigError
from contnet.processes import rank
from contnet.runs.atomic import write_atomically
from contnet.runs.folder import RESULT, SWEEP_JOBS, SWEEP_TABLE
from contnet.runs.tables import write_csv

FIGURES = ("test_accuracy", "test_loss", "train_seconds")


def save_failure(job: Job, error: Exception) -> None:
    """Write the error of a failed job to its folder, where a finished job writes its result.

    An existing result is kept. If a job is refused because its folder belongs to another run,
    nothing is written there, and the error is printed instead.
    """
    if rank() > 0:
        return
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ConfigError) and job.has_checkpoint:
        print(f"{job} is left out: {message}", file=sys.stderr)
        return
    path = job.folder / RESULT
    if not path.exists() or "error" in json.loads(path.read_text()):
        failed = {"error": message, "overrides": list(job.overrides)}
        write_atomically(path, json.dumps(failed, indent=2).encode())


def write_summary(folder: Path) -> None:
    """Write the tables of a sweep to its folder, and show the one over seeds on the screen.

    `sweep_jobs.csv` has a row for each job, `sweep.csv` a row for all jobs that differ in nothing
    but the seed. Nothing is written if no job has a result.
    """
    results = sorted(folder.glob(str(Path("*") / RESULT)), key=_job_number)
    if not results:
        return
    jobs = [_job(path) for path in results]
    groups = summarise(jobs)
    write_csv(folder / SWEEP_JOBS, jobs)
    write_csv(folder / SWEEP_TABLE, groups)
    _show(groups, [job for job in jobs if "error" in job], folder / SWEEP_TABLE)


def summarise(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for all jobs that differ in nothing but the seed.

    A row has their overrides, the number of finished and of failed jobs, and mean and standard
    deviation of each figure. A standard deviation needs two finished jobs.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        words = job["overrides"].split()
        overrides = " ".join(word for word in words if not word.startswith("seed="))
        groups.setdefault(overrides, []).append(job)
    return [_row(overrides, members) for overrides, members in groups.items()]


def _row(overrides: str, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    done = [job for job in jobs if "error" not in job]
    row = {"overrides": overrides, "runs": len(done), "failed": len(jobs) - len(done)}
    for name in FIGURES:
        values = [job[name] for job in done if name in job]  # a job may have no test
        row[f"{name}_mean"] = mean(values) if values else None
        row[f"{name}_std"] = stdev(values) if len(values) > 1 else None
    row["parameters"] = done[0]["parameters"] if done else None
    return row


def _job_number(result: Path) -> tuple[int, str]:
    """Return a key that sorts job 10 after job 9."""
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
