"""The end of a sweep: tables over its jobs.

The tables are read from the results that the jobs have written to their folders. So they do not
depend on the launcher, and they cover jobs that an earlier run of the sweep finished.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from contnet.commands.grammar import program
from contnet.commands.job import Job
from contnet.comparison.comparison import runs_table
from contnet.comparison.files import DamagedError
from contnet.comparison.groups import Group, group, grouped
from contnet.comparison.runs import read, with_numbers
from contnet.comparison.tables import as_text
from contnet.errors import ConfigError
from contnet.processes import rank
from contnet.runs.atomic import write_atomically
from contnet.runs.folder import RESULT, SWEEP_JOBS, SWEEP_TABLE
from contnet.runs.rounding import Figure
from contnet.runs.tables import write_csv

FIGURES = ("test_accuracy", "test_loss", "train_seconds")
"""The figures in `sweep.csv`."""

OBJECTIVE = "val_accuracy"
"""The figure that a search maximises."""

SHOWN = ("test_accuracy", OBJECTIVE, "test_loss", "train_seconds")
"""The figures on the screen."""


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
    results = sorted(folder.glob(str(Path("*") / RESULT)), key=with_numbers)
    if not results:
        return
    jobs = [_job(path) for path in results]
    write_csv(folder / SWEEP_JOBS, jobs)
    write_csv(folder / SWEEP_TABLE, summarise(jobs))
    runs, failed = [], []
    for path, job in zip(results, jobs, strict=True):
        try:
            runs.append(read(path.parent))
        except DamagedError as error:
            reason = f"failed: {job['error']}" if "error" in job else f"is not shown: {error}"
            failed.append(f"job {job['job']} ({job['overrides']}) {reason}")
    if runs:
        print(_table(*group(runs)), end="")
    for line in failed:
        print(line)
    print(f"written to {folder / SWEEP_TABLE}")


def summarise(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for all jobs that differ in nothing but the seed.

    A row has their overrides, the number of finished and of failed jobs, and mean and standard
    deviation of each figure. A standard deviation needs two finished jobs.
    """

    def without_seed(job: dict[str, Any]) -> str:
        return " ".join(w for w in job["overrides"].split() if not w.startswith("seed="))

    return [_row(overrides, members) for overrides, members in grouped(jobs, without_seed).items()]


def _row(overrides: str, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    done = [job for job in jobs if "error" not in job]
    row = {"overrides": overrides, "runs": len(done), "failed": len(jobs) - len(done)}
    for name in FIGURES:
        figure = Figure.of([job[name] for job in done if name in job])  # there may be no test
        row[f"{name}_mean"] = None if figure is None else figure.mean
        row[f"{name}_std"] = None if figure is None else figure.deviation
    row["parameters"] = done[0]["parameters"] if done else None
    return row


def _job(path: Path) -> dict[str, Any]:
    result = json.loads(path.read_text())
    kept = {key: value for key, value in result.items() if key not in ("versions", "overrides")}
    return {"job": path.parent.name, "overrides": " ".join(result.get("overrides", [])), **kept}


def _table(shared: dict[str, str], groups: Sequence[Group]) -> str:
    """Return the table of a sweep, and of a search also the winner and its command."""
    is_search = groups[0].runs[0].settings.choices.get("hydra/sweeper", "basic") != "basic"
    best = winner(groups) if is_search else None
    table = runs_table(shared, groups, SHOWN, best)
    if is_search:
        table = replace(table, below=[*table.below, _verdict(best)])
    from rich.console import Console

    return as_text(table, Console().width)


def winner(groups: Sequence[Group]) -> Group | None:
    """Return the group with the best accuracy on validation images, the first of equal ones.

    It is None if no group was validated. Test images choose nothing.
    """
    figures = [(one, one.figure(OBJECTIVE)) for one in groups]
    validated = [(one, found.mean) for one, found in figures if found and isfinite(found.mean)]
    return max(validated, key=lambda pair: pair[1])[0] if validated else None


def _verdict(best: Group | None) -> str:
    if best is None:
        return f"no winner: no job has a {OBJECTIVE} to choose by"
    words = [word for word in best.runs[0].overrides if not word.startswith("seed=")]
    if len(best.runs) == 1:
        words = list(best.runs[0].overrides)
    command = " ".join([program("train"), *map(shlex.quote, words)])
    return f"* the best {OBJECTIVE}; its command:\n{command}"
