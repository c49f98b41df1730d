"""Runs of several processes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from contnet import ContinuousNet
from contnet.commands.several_processes import check_processes
from contnet.errors import ConfigError
from contnet.runs.checkpoint import Record
from tests.conftest import Run
from tests.outcomes import LAST, assert_same_end, load, result, rows
from tests.processes import ROOT, torchrun, train

DDP = (
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "dataset.batch_size=64",
    "epochs=2",
    "model.alpha=2",
)


@pytest.mark.long
def test_two_agents_with_a_process_each_train_as_one_agent_with_two(tmp_path: Path) -> None:
    program = (str(ROOT / "train.py"), *DDP)
    # A run in the current folder is not theirs, though only the leading process has another one.
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / LAST).touch()
    one = torchrun(
        tmp_path,
        "--standalone",
        "--nproc-per-node=2",
        *program,
        "trainer.devices=2",
        "hydra.run.dir=one",
    )
    out, _ = one.communicate(timeout=240)
    assert one.returncode == 0, out
    meeting = (
        "--nnodes=2",
        "--nproc-per-node=1",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=127.0.0.1:29711",
    )
    nodes = ("trainer.devices=1", "trainer.num_nodes=2")
    agents = [torchrun(tmp_path, *meeting, *program, *nodes) for _ in range(2)]
    for agent in agents:
        out, _ = agent.communicate(timeout=240)
        assert agent.returncode == 0, out
    (folder,) = (tmp_path / "outputs" / "train").glob("*/*")  # one run, one folder
    two = folder
    for name in ("checkpoints/last.ckpt", "metrics.csv", "result.json", ".hydra/config.yaml"):
        assert (two / name).is_file()
    assert_same_end(tmp_path / "one", two)
    losses = [result(path)["test_loss"] for path in (tmp_path / "one", two)]
    assert losses[0] == losses[1]


@pytest.mark.long
def test_a_sweep_under_torchrun_has_one_folder_and_one_table(tmp_path: Path) -> None:
    sweep = (*DDP, "trainer.devices=2", "epochs=1", "seed=1,2")
    agent = torchrun(
        tmp_path, "--standalone", "--nproc-per-node=2", str(ROOT / "train.py"), "-m", *sweep
    )
    out, _ = agent.communicate(timeout=240)
    assert agent.returncode == 0, out
    (folder,) = (tmp_path / "outputs" / "multirun").glob("*/*")
    assert [row["runs"] for row in rows(folder / "sweep.csv")] == ["2"]
    assert out.count("test_accuracy") == 2
    assert out.count("mean ± standard deviation over seeds") == 1


def test_a_sweep_that_starts_processes_of_its_own_is_refused(run: Run) -> None:
    code, out, _ = run(
        "train", "-m", *DDP, "trainer.devices=2", "seed=1,2", "hydra.sweep.dir=sweep"
    )
    assert code == 1
    assert (
        "trainer.devices must be 1 in a sweep (-m) that starts its own processes, got 2;"
        in " ".join(out.split())
    )


def test_synchronised_batch_norm_is_refused_where_there_is_none(run: Run) -> None:
    code, _, err = run("train", "trainer.accelerator=cpu", "trainer.sync_batchnorm=true")
    assert (code, err.count("\n")) == (1, 1)
    assert "trainer.sync_batchnorm must be false on a CPU" in err


def test_processes_that_choose_their_own_steps_synchronise_no_batch_norm() -> None:
    """They would evaluate their rates, and so their norms, unequally often."""
    device = torch.device("cuda")
    trainer: Any = SimpleNamespace(world_size=2, strategy=SimpleNamespace(root_device=device))
    options = DictConfig({"sync_batchnorm": True, "devices": 2})
    check_processes(trainer, options, ContinuousNet(alpha=1), sweeping=False)
    with pytest.raises(ConfigError, match="sync_batchnorm must be false with an adaptive scheme"):
        check_processes(trainer, options, ContinuousNet(alpha=1, scheme="tsit5"), sweeping=False)


@pytest.mark.long
def test_two_processes_told_to_stop_agree_and_go_on_to_the_same_end(tmp_path: Path) -> None:
    options = (*DDP, "trainer.devices=2", "dataset.batch_size=32")
    through = train(*options, "hydra.run.dir=through", folder=tmp_path)
    assert through.returncode == 0, through.stderr
    stop = "stop_second_process_at_batch:1:3:SIGTERM"
    stopped = train(*options, "hydra.run.dir=run", folder=tmp_path, fault=stop)
    assert stopped.returncode == 75, stopped.stderr
    checkpoint = load(tmp_path / "run" / LAST)
    (loader,) = checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert loader["n_batches"] == 10
    assert len(Record.of(checkpoint).position) == 2
    resumed = train("ckpt_path=last", "hydra.run.dir=run", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_end(tmp_path / "through", tmp_path / "run")


def test_processes_that_torchrun_has_started_are_what_the_trainer_asks_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run("train", "epochs=1", "model.alpha=2")
    assert (code, err.count("\n")) == (1, 1)
    assert "trainer.devices must be 2 on each node: torchrun or SLURM has started 2 proc" in err
