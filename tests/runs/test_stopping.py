"""Runs that are told to stop, or are killed, end as the run that was not."""

import json
import signal
from pathlib import Path

import pytest
import torch

from tests.faults import at_batch
from tests.outcomes import assert_same, assert_same_end, metrics, outcome
from tests.processes import script
from tests.runs.small import SMALL

RUN = (
    "epochs=4",
    "model.alpha=2",
    "model=wide_resnet",
    "model.depth=10",
    "model.widen_factor=1",
    "model.dropout=0.2",
)


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGINT", 130)],
    ids=["terminated", "pre-empted", "Ctrl-C"],
)
def test_a_stopped_run_saves_in_the_middle_of_an_epoch_and_resumes_to_the_same_end(
    tmp_path: Path, name: str, code: int
) -> None:
    averaged = (*SMALL, "callbacks=ema", "callbacks.ema.window=0.2")
    options = {"SIGTERM": SMALL, "SIGUSR1": RUN, "SIGINT": averaged}[
        name
    ]  # with dropout and an average, too
    assert script("", *options, "hydra.run.dir=through", folder=tmp_path).returncode == 0
    stop = at_batch(1, 7, f"os.kill(os.getpid(), signal.{name})")
    stopped = script(stop, *options, "hydra.run.dir=run", folder=tmp_path)
    assert stopped.returncode == code, stopped.stderr
    told = stopped.stderr.strip().splitlines()[-1]
    assert f"stopped by {name} at step " in told
    assert told.endswith("to resume: python train.py ckpt_path=last hydra.run.dir=run")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 1
    assert checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"n_batches": 8}]
    resumed = script(
        "", "ckpt_path=last", "hydra.run.dir=run", folder=tmp_path
    )  # the other overrides are recorded
    assert resumed.returncode == 0, resumed.stderr
    assert_same_end(tmp_path / "through", tmp_path / "run")


@pytest.mark.parametrize("epoch", [1, 3], ids=["in the middle", "the last"])
def test_a_run_killed_between_checkpoint_and_figures_has_its_figures_when_resumed(
    tmp_path: Path, epoch: int
) -> None:
    assert script("", *SMALL, "hydra.run.dir=through", folder=tmp_path).returncode == 0
    deadly = f"""
import os, signal
from contnet.training.callbacks.checkpointing import LastCheckpoint
original = LastCheckpoint.on_train_epoch_end
def then(self, trainer, pl_module):
    original(self, trainer, pl_module)
    if trainer.current_epoch == {epoch}:
        os.kill(os.getpid(), signal.SIGKILL)
LastCheckpoint.on_train_epoch_end = then
"""
    assert (
        script(deadly, *SMALL, "hydra.run.dir=run", folder=tmp_path).returncode == -signal.SIGKILL
    )
    assert script("", "ckpt_path=last", "hydra.run.dir=run", folder=tmp_path).returncode == 0
    assert_same(outcome(tmp_path / "through"), outcome(tmp_path / "run"), "run")
    results = [
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("through", "run")
    ]
    through, killed = (result["train_seconds"] * result["images_per_second"] for result in results)
    assert killed == pytest.approx(through)  # the images of all epochs, in the time of all epochs


BITWISE = (
    "epochs=4",
    "model.alpha=4",
    "refine.epochs=[2]",
    "refine.variance=0.1",
    "lr_schedule.milestones=[2,3]",
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert script("", *BITWISE, "hydra.run.dir=run", folder=folder).returncode == 0
    return folder / "run"


def kill_at(epoch: int, batch: int) -> str:
    return f"""
import os, signal
from contnet.training.callbacks.throughput import Throughput
original = Throughput.on_train_batch_end
def deadly(self, trainer, pl_module, outputs, batch, batch_idx):
    original(self, trainer, pl_module, outputs, batch, batch_idx)
    if (trainer.current_epoch, batch_idx) == ({epoch}, {batch}):
        os.kill(os.getpid(), signal.SIGKILL)
Throughput.on_train_batch_end = deadly
"""


@pytest.mark.parametrize(
    ("epoch", "batch"), [(1, 3), (2, 3), (3, 3)], ids=["before", "during", "after"]
)
def test_a_run_killed_around_a_refinement_resumes_to_the_same_end_bit_for_bit(
    uninterrupted: Path, tmp_path: Path, epoch: int, batch: int
) -> None:
    killed = script(kill_at(epoch, batch), *BITWISE, "hydra.run.dir=killed", folder=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    resume = "ckpt_path=killed/checkpoints/last.ckpt"
    resumed = script("", *BITWISE, resume, "hydra.run.dir=resumed", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr

    ends = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (uninterrupted, tmp_path / "resumed")
    ]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_same(ends[0][key], ends[1][key], key)
    names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "depth"]
    logged = metrics(uninterrupted, names)
    assert (
        metrics(tmp_path / "resumed", names) == logged[epoch - 1 :]
    )  # from the epoch that the checkpoint has finished
