"""What is switched off is not reported as there, and a run that ends early says why."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contnet.commands.output import survive_broken_pipes
from tests.conftest import Run
from tests.outcomes import LAST, assert_same_end, load, result, rows
from tests.processes import ROOT, environment

TINY = ("model.alpha=1", "dataset.batch_size=512", "hydra.run.dir=run")
SHORT = (*TINY, "epochs=1", "trainer.limit_train_batches=1")


def test_a_run_without_a_test_reports_none_and_counts_in_its_sweep(
    run: Run, tmp_path: Path
) -> None:
    code, out, err = run("train", *SHORT, "trainer.limit_test_batches=0")
    assert (code, err) == (0, "")
    assert "test accuracy" not in out
    assert not {"test_accuracy", "test_loss"} & result("run").keys()
    assert result("run")["val_accuracy"] > 0
    sweep = ("-m", *SHORT, "trainer.limit_test_batches=0", "seed=1,2", "hydra.sweep.dir=sweep")
    assert run("train", *sweep)[0] == 0
    (row,) = rows(tmp_path / "sweep" / "sweep.csv")
    assert (row["runs"], row["test_accuracy_mean"]) == ("2", "")
    assert float(row["train_seconds_mean"]) > 0


def test_a_run_without_validation_reports_none(run: Run) -> None:
    code, out, err = run("train", *SHORT, "trainer.limit_val_batches=0")
    assert (code, err) == (0, "")
    assert "val_" not in out
    assert not {"val_accuracy", "val_loss"} & result("run").keys()


def test_an_epoch_without_validation_does_not_show_the_figures_of_another(run: Run) -> None:
    options = ("epochs=3", "trainer.limit_train_batches=1", "trainer.check_val_every_n_epoch=2")
    _, out, _ = run("train", *TINY, *options)
    lines = [line for line in out.splitlines() if line.startswith("epoch ")]
    assert ["val_loss" in line for line in lines] == [False, True, False]


@pytest.mark.parametrize(
    "without",
    ["trainer.fast_dev_run=true", "trainer.enable_checkpointing=false", "~callbacks"],
)
def test_a_run_that_saves_no_checkpoint_names_none(run: Run, tmp_path: Path, without: str) -> None:
    code, out, err = run("train", *SHORT, without)
    assert (code, err) == (0, "")
    assert "checkpoint " not in out
    assert "written to" in out
    assert list(tmp_path.rglob("*.ckpt")) == []
    assert 0 <= result("run")["test_accuracy"] <= 1


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint")
def test_a_run_names_the_checkpoint_that_it_has_saved_or_was_resumed_from(run: Run) -> None:
    assert "run/checkpoints/last.ckpt" in run("train", *SHORT)[1]
    resume = ("train", "ckpt_path=last", "hydra.run.dir=run")
    assert "run/checkpoints/last.ckpt" in run(*resume)[1]  # it has no epoch left to train
    # The checkpoint that is there now is that of an earlier epoch.
    code, out, _ = run(*resume, "epochs=2", "trainer.enable_checkpointing=false")
    assert (code, "checkpoint " in out) == (0, False)


def test_a_run_that_ends_early_says_so_and_goes_on_to_the_end_of_one_that_did_not(
    run: Run, tmp_path: Path
) -> None:
    options = ("model.alpha=1", "dataset.batch_size=512", "epochs=3")
    assert run("train", *options, "hydra.run.dir=through")[0] == 0
    assert result("through")["stopped_by"] is None
    code, out, _ = run("train", *options, "trainer.max_steps=5", "hydra.run.dir=run")
    assert code == 0
    assert result("run")["stopped_by"] == "trainer.max_steps"
    go_on = "ckpt_path=last hydra.run.dir=run trainer.max_steps=-1"
    assert (
        "\nstopped by trainer.max_steps=5 at step 5, in epoch 2 of 3; to go on: "
        f"python train.py {go_on}\n" in out
    )
    assert run("train", *go_on.split())[0] == 0
    assert result("run")["stopped_by"] is None
    assert_same_end(tmp_path / "through", tmp_path / "run")


def test_a_run_whose_time_is_up_says_so(run: Run) -> None:
    code, out, _ = run("train", *TINY, "epochs=3", "trainer.max_time=00:00:00:00")
    assert code == 0
    assert "\nstopped by trainer.max_time=00:00:00:00 at step 0, in epoch 0 of 3\n" in out
    assert result("run")["stopped_by"] == "trainer.max_time"


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
@pytest.mark.parametrize(
    "length", ["trainer.max_steps=5", "trainer.max_epochs=1"], ids=lambda text: text[8:]
)
def test_a_schedule_by_steps_spans_the_steps_that_the_run_takes(
    run: Run, schedule: str, length: str
) -> None:
    assert run("train", *TINY, f"lr_schedule={schedule}", "epochs=4", length)[0] == 0
    (group,) = load(Path("run") / LAST)["optimizer_states"][0]["param_groups"]
    assert group["lr"] < 1e-4


@pytest.fixture
def hang_up() -> Iterator[None]:
    """Let SIGHUP be neither ignored nor handled, although the tests may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up")
def test_a_run_that_begins_to_train_after_its_reader_has_left_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    heard: list[int] = []
    with os.fdopen(write, "w", closefd=False) as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        patch.setattr(sys, "stderr", sys.stderr)
        survive_broken_pipes()
        os.close(read)
        print("before it trains", flush=True)
        signal.signal(signal.SIGHUP, lambda number, frame: heard.append(number))
        print("while it trains", flush=True)
    os.close(write)
    assert heard == [signal.SIGHUP]


@pytest.mark.long
@pytest.mark.usefixtures("hang_up")
def test_a_run_whose_output_nobody_reads_any_more_saves_and_ends_without_a_traceback(
    tmp_path: Path,
) -> None:
    options = (*TINY, "epochs=500", "trainer.limit_train_batches=2")
    command = [sys.executable, str(ROOT / "train.py"), *options]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), text=True, **streams) as train:
        assert train.stdout is not None
        assert train.stderr is not None
        assert train.stdout.readline().startswith("epoch 1/500")
        train.stdout.close()
        told = train.stderr.read()
    assert train.returncode == 75, told
    assert told.startswith("stopped by SIGHUP at step ")
    assert told.count("\n") == 1
    assert load(tmp_path / "run" / LAST)["epoch"] >= 1
