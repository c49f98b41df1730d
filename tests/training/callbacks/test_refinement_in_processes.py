"""Refinement in two processes that train together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.processes import ROOT

KEEP_RANKS = """
import contnet.commands.result, torch
from torch import distributed
def keep(config, network, *rest):
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    torch.save(network.state_dict(), f"{config.run_dir}/rank{rank}.pt")
    return {}
contnet.commands.result.training = keep
"""


RANKS = ("one/rank0", "two/rank0", "two/rank1")


def ranks(tmp_path: Path, *overrides: str) -> dict[str, dict[str, Tensor]]:
    """Final weights of one process, and of both of two that share the same global batches."""
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{KEEP_RANKS}\nimport train; train.main()"
    )
    common = (
        "epochs=3",
        "model.alpha=4",
        "refine.epochs=[1]",
        "refine.variance=0.1",
        "optimizer.lr=0.02",
        *overrides,
    )
    common += (
        "trainer.accelerator=cpu",
        "trainer.limit_train_batches=8",
        "trainer.precision=64-true",
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    for name, more in (
        ("one", ("dataset.batch_size=64",)),
        ("two", ("dataset.batch_size=32", "trainer.strategy=ddp", "trainer.devices=2")),
    ):
        command = [sys.executable, str(driver), *common, *more, f"hydra.run.dir={name}"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return {file: torch.load(tmp_path / f"{file}.pt", weights_only=True) for file in RANKS}


@pytest.mark.parametrize("basis", ["piecewise_constant", "legendre"])
def test_two_processes_refine_alike_and_as_one_process_does(tmp_path: Path, basis: str) -> None:
    one, first, second = ranks(tmp_path, "model.batch_norm=false", f"model.basis={basis}").values()
    assert len([name for name in first if name.endswith("nodes.1.conv1.weight")]) == 3
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-5)


def test_two_processes_with_batch_norms_of_their_own_keep_equal_weights(tmp_path: Path) -> None:
    _, first, second = ranks(tmp_path, "model.batch_norm=true").values()
    assert len([name for name in first if name.endswith("nodes.1.bn1.weight")]) == 3
    for name, value in first.items():
        if "running" not in name:
            assert torch.equal(value, second[name]), name
