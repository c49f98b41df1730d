"""Folders as runs and evaluations leave them, without a run."""

import json
from pathlib import Path
from typing import Any

import yaml

FIGURES = {
    "test_accuracy": 0.5,
    "parameters": 1000,
    "train_seconds": 10.0,
    "images_per_second": 100.0,
    "machine": "a CPU, 1 thread",
}


def run(
    folder: Path,
    *overrides: str,
    config: dict[str, Any] | None = None,
    choices: dict[str, str] | None = None,
    **result: Any,
) -> Path:
    """Write the folder of a finished run; return it."""
    record(folder, *overrides, config=config, choices=choices)
    found = {**FIGURES, "overrides": list(overrides), **result}
    (folder / "result.json").write_text(json.dumps(found))
    return folder


def record(
    folder: Path,
    *overrides: str,
    config: dict[str, Any] | None = None,
    choices: dict[str, str] | None = None,
) -> Path:
    """Write what a run leaves that has only begun; return its folder."""
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "overrides.yaml").write_text(yaml.dump(list(overrides)))
    if config is not None:
        (hydra / "config.yaml").write_text(yaml.dump(config))
    if choices is not None:
        chosen = {"hydra": {"runtime": {"choices": choices}}}
        (hydra / "hydra.yaml").write_text(yaml.dump(chosen))
    return folder


def epochs(folder: Path, *rows: dict[str, float]) -> None:
    """Write the figures of each epoch of a run."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(str(row.get(name, "")) for name in names) for row in rows]
    (folder / "metrics.csv").write_text("\n".join([",".join(names), *lines]) + "\n")


def row(scheme: str, n_time_steps: int, accuracy: float, **more: Any) -> dict[str, Any]:
    """Return a row of an evaluation."""
    nodes = {"basis": "piecewise_constant", "n_basis": 2}
    told = {"scheme": scheme, "n_time_steps": n_time_steps, "rtol": None, **nodes}
    return {**told, "accuracy": accuracy, "latency_ms": n_time_steps / 10, "failed": None, **more}


def evaluation(folder: Path, studies: dict[str, list[dict[str, Any]]], n_classes: int = 10) -> Path:
    """Write the folder of an evaluation of checkpoints; return it."""
    record(folder)
    classes = list(map(str, range(n_classes)))
    found = [
        {"checkpoint": name, "classes": classes, "rows": rows} for name, rows in studies.items()
    ]
    (folder / "invariance.json").write_text(json.dumps(found))
    return folder
