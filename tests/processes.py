"""Runs in processes of their own, and the comparison of what they leave."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]


def script(
    code: str, *overrides: str, folder: Path, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run train.py with the given overrides in a process of its own, after `code`."""
    driver = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nimport train; train.main()"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "HYDRA_FULL_ERROR": "0",
    }
    return subprocess.run(
        [sys.executable, "-c", driver, *overrides],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def rows(path: Path | str) -> list[dict[str, str]]:
    """Those of a table in a CSV file."""
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def metrics(folder: Path | str, names: list[str]) -> list[dict[str, str]]:
    table = rows(Path(folder, "metrics.csv"))
    return [{name: row[name] for name in names} for row in table if row.get("train_loss")]


def assert_same(a: object, b: object, where: str) -> None:
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
