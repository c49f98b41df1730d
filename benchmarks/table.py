"""The table of benchmarks.reproduce: each row's figures next to those of the original."""

import re
from statistics import mean, median, stdev
from typing import Any

from omegaconf import OmegaConf

from benchmarks.rows import Row
from contnet.commands.messages import CONF

ORIGINAL = re.compile(r"^# original: ([\d.]+) % in (\d+) minutes$", re.MULTILINE)
HEAD = (
    "row",
    "scheme",
    "refined",
    "epochs",
    "parameters",
    "accuracy, original",
    "accuracy, ours",
    "time, original",
    "time, ours",
)


def original_figures(experiment: str) -> tuple[float, int] | None:
    """Return the test accuracy in percent and the minutes that the original states for a row."""
    match = ORIGINAL.search((CONF / "experiment" / f"{experiment}.yaml").read_text())
    return None if match is None else (float(match[1]), int(match[2]))


def table_row(
    row: Row, overrides: list[str], results: list[dict[str, Any] | None]
) -> dict[str, Any]:
    """Return the figures of a row: accuracies in percent, times in minutes.

    Args:
        row: the row.
        overrides: the overrides of all rows.
        results: the result of each seed; None for a failed run.
    """
    config = row.composed(overrides)
    done = [result for result in results if result is not None]
    accuracies = [100 * result["test_accuracy"] for result in done]
    original = original_figures(row.experiment)
    machines = {f"{result['machine']}, torch {result['versions']['torch']}" for result in done}
    data = [config.dataset._target_.rpartition(".")[2], config.dataset.get("root")]
    continuous = "initial_time_d" in config.model
    return {
        "row": str(row),
        "scheme": OmegaConf.select(config, "scheme.name") if continuous else None,
        "refined": " ".join(map(str, config.refine.epochs)) or None,
        "epochs": config.epochs,
        "parameters": done[0]["parameters"] if done else None,
        "original_accuracy": original and original[0],
        "accuracy_mean": mean(accuracies) if accuracies else None,
        "accuracy_std": stdev(accuracies) if len(accuracies) > 1 else None,
        "seeds": len(done),
        "failed": len(results) - len(done),
        "original_minutes": original and original[1],
        "minutes": median(result["train_seconds"] for result in done) / 60 if done else None,
        "data": " in ".join(filter(None, data)),
        "machine": "; ".join(sorted(machines)) or None,
        "commit": "; ".join(sorted({str(result["git_commit"]) for result in done})) or None,
        "overrides": " ".join(row.of_all(overrides)),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Write rows as a Markdown table, with the data, machines, commits and overrides below."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    lines += ["", "In brackets: number of seeds."]
    for key in ("data", "machine", "commit", "overrides"):
        values = dict.fromkeys(row[key] for row in rows if row[key])
        lines += ["", f"{key.capitalize()}: {'; '.join(values)}"] if values else []
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    def cell(key: str, form: str) -> str:
        return "-" if row[key] is None else form.format(row[key])

    return [
        f"`{row['row']}`",
        row["scheme"] or "-",
        row["refined"] or "-",
        str(row["epochs"]),
        cell("parameters", "{:,}"),
        cell("original_accuracy", "{:.2f} %"),
        _accuracy(row),
        cell("original_minutes", "{} min"),
        cell("minutes", "{:.1f} min"),
    ]


def _accuracy(row: dict[str, Any]) -> str:
    if row["accuracy_mean"] is None:
        return "-"
    spread = "" if row["accuracy_std"] is None else f" ± {row['accuracy_std']:.2f}"
    n_runs = f" of {row['seeds'] + row['failed']}" if row["failed"] else ""
    return f"{row['accuracy_mean']:.2f}{spread} % ({row['seeds']}{n_runs})"
