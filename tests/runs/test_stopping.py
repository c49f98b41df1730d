"""Runs that are told to stop, or are killed, end as the run that was not."""

import signal
from pathlib import Path

import pytest

from tests.outcomes import LAST, assert_same, assert_same_end, load, metrics, outcome, result
from tests.processes import train
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
    [("SIGTERM", 75), ("SIGUSR1", 75), pytest.param("SIGINT", 130, marks=pytest.mark.long)],
    ids=["terminated", "pre-empted", "Ctrl-C"],
)
def test_a_stopped_run_saves_in_the_middle_of_an_epoch_and_resumes_to_the_same_end(
    tmp_path: Path, name: str, code: int
) -> None:
    averaged = (*SMALL, "callbacks=ema", "callbacks.ema.window=0.2")
    # With dropout and an average, too.
    options = {"SIGTERM": SMALL, "SIGUSR1": RUN, "SIGINT": averaged}[name]
    assert train(*options, "hydra.run.dir=through", folder=tmp_path).returncode == 0
    stop = f"stop_at_batch:1:7:{name}"
    stopped = train(*options, "hydra.run.dir=run", folder=tmp_path, fault=stop)
    assert stopped.returncode == code, stopped.stderr
    told = stopped.stderr.strip().splitlines()[-1]
    assert f"stopped by {name} at step " in told
    assert told.endswith("to resume: python train.py ckpt_path=last hydra.run.dir=run")
    checkpoint = load(tmp_path / "run" / LAST)
    assert checkpoint["epoch"] == 1
    (loader,) = checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert loader["n_batches"] == 8
    # The other overrides are recorded.
    resumed = train("ckpt_path=last", "hydra.run.dir=run", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_end(tmp_path / "through", tmp_path / "run")


def test_a_run_that_is_stopped_at_its_very_end_is_tested_when_it_is_resumed(tmp_path: Path) -> None:
    stop = "stop_at_batch:3:20:SIGTERM"  # the last batch
    stopped = train(*SMALL, "hydra.run.dir=run", folder=tmp_path, fault=stop)
    assert stopped.returncode == 75, stopped.stderr
    assert not (tmp_path / "run" / "result.json").exists()
    resumed = train("ckpt_path=last", "hydra.run.dir=run", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert result(tmp_path / "run")["epochs"] == 4


@pytest.mark.parametrize(
    "epoch",
    [1, pytest.param(3, marks=pytest.mark.long)],
    ids=["in the middle", "the last"],
)
def test_a_run_killed_between_checkpoint_and_figures_has_its_figures_when_resumed(
    tmp_path: Path, epoch: int
) -> None:
    assert train(*SMALL, "hydra.run.dir=through", folder=tmp_path).returncode == 0
    kill = f"kill_between_checkpoint_and_figures:{epoch}"
    killed = train(*SMALL, "hydra.run.dir=run", folder=tmp_path, fault=kill)
    assert killed.returncode == -signal.SIGKILL
    assert train("ckpt_path=last", "hydra.run.dir=run", folder=tmp_path).returncode == 0
    assert_same(outcome(tmp_path / "through"), outcome(tmp_path / "run"), "run")
    results = [result(tmp_path / name) for name in ("through", "run")]
    through, killed = (r["train_seconds"] * r["images_per_second"] for r in results)
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
    assert train(*BITWISE, "hydra.run.dir=run", folder=folder).returncode == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("epoch", "batch"),
    [
        pytest.param(1, 3, marks=pytest.mark.long),
        (2, 3),
        pytest.param(3, 3, marks=pytest.mark.long),
    ],
    ids=["before", "during", "after"],
)
def test_a_run_killed_around_a_refinement_resumes_to_the_same_end_bit_for_bit(
    uninterrupted: Path, tmp_path: Path, epoch: int, batch: int
) -> None:
    kill = f"stop_at_batch:{epoch}:{batch}:SIGKILL"
    killed = train(*BITWISE, "hydra.run.dir=killed", folder=tmp_path, fault=kill)
    assert killed.returncode == -signal.SIGKILL
    resume = "ckpt_path=killed/checkpoints/last.ckpt"
    resumed = train(*BITWISE, resume, "hydra.run.dir=resumed", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr

    ends = [load(folder / LAST) for folder in (uninterrupted, tmp_path / "resumed")]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_same(ends[0][key], ends[1][key], key)
    names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "depth"]
    logged = metrics(uninterrupted, names)
    # From the epoch that the checkpoint has finished.
    assert metrics(tmp_path / "resumed", names) == logged[epoch - 1 :]
