"""Read what runs leave in their folders, and compare it."""

import csv
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LAST = Path("checkpoints") / "last.ckpt"


def load(path: Path | str) -> dict[str, Any]:
    """Return a checkpoint."""
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def result(folder: Path | str) -> dict[str, Any]:
    """Return the result of a run."""
    found: dict[str, Any] = json.loads(Path(folder, "result.json").read_text())
    return found


def rows(path: Path | str) -> list[dict[str, str]]:
    """Return the rows of a table in a CSV file."""
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def metrics(folder: Path | str, names: list[str]) -> list[dict[str, str]]:
    """Return the named metrics of each epoch of a run."""
    table = rows(Path(folder, "metrics.csv"))
    return [{name: row[name] for name in names} for row in table if row.get("train_loss")]


def record(folder: Path) -> dict[Path, bytes]:
    """Return what a run is resumed from, and its result, by file."""
    files = (folder / LAST, folder / "result.json", *(folder / ".hydra").iterdir())
    return {file: file.read_bytes() for file in files if file.exists()}


WALL_CLOCK = {"train_seconds", "images_per_second"}


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a run leaves, without what depends on the clock."""
    checkpoint = load(folder / LAST)
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
    left_out = {*WALL_CLOCK, "started", "finished", "overrides", "git_commit"}
    return {
        **{part: checkpoint[part] for part in parts},
        "metrics": [
            {key: value for key, value in row.items() if key not in WALL_CLOCK}
            for row in rows(folder / "metrics.csv")
        ],
        "result": {key: value for key, value in result(folder).items() if key not in left_out},
    }


def assert_same(a: object, b: object, where: str) -> None:
    """Compare two parts of checkpoints to the last bit."""
    if isinstance(a, Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}.{i}")
    else:
        assert a == b, where


def assert_same_end(a: Path, b: Path) -> None:
    """Compare the ends of two runs to the last bit: weights, optimizer, schedule and metrics."""
    ends = [load(folder / LAST) for folder in (a, b)]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_same(ends[0][key], ends[1][key], key)
    # The weights that train on beside their average, where there is one.
    assert_same(*(end.get("current_model_state") for end in ends), "current_model_state")
    names = ["epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
    assert metrics(a, names) == metrics(b, names)
