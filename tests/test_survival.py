"""Nothing is lost, and accidents have answers."""

import csv
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from benchmarks.kill import differences, outcome
from contnet.commands import failures as accidents
from contnet.data.batches import batch_loader
from contnet.data.images import ArrayImages
from contnet.runs.resume import LAST
from contnet.training.callbacks.metrics_file import MetricsFile
from contnet.training.checkpoint_io import AtomicCheckpointIO
from tests.conftest import Run
from tests.processes import ROOT, assert_same, metrics, script

RUN = (
    "epochs=4",
    "model.alpha=2",
    "model=wide_resnet",
    "model.depth=10",
    "model.widen_factor=1",
    "model.dropout=0.2",
)
SMALL = ("epochs=4", "model.alpha=2", "dataset.batch_size=64", "lr_schedule.milestones=[3]")


def at_batch(epoch: int, batch: int, action: str) -> str:
    """Do something after a batch of training."""
    return f"""
import os, signal, torch
from contnet.training.callbacks.throughput import Throughput
original = Throughput.on_train_batch_end
def then(self, trainer, pl_module, outputs, batch, batch_idx):
    original(self, trainer, pl_module, outputs, batch, batch_idx)
    if (trainer.current_epoch, batch_idx) == ({epoch}, {batch}):
        {action}
Throughput.on_train_batch_end = then
"""


def compare(a: Path, b: Path) -> None:
    """The ends of two runs are the same to the last bit."""
    ends = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (a, b)
    ]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_same(ends[0][key], ends[1][key], key)
    assert_same(
        ends[0].get("current_model_state"), ends[1].get("current_model_state"), "beside an average"
    )
    names = ["epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
    assert metrics(a, names) == metrics(b, names)


# --- stopping and going on


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGINT", 130)],
    ids=["terminated", "pre-empted", "Ctrl-C"],
)
def test_a_run_told_to_stop_saves_in_the_middle_of_an_epoch_and_goes_on_to_the_same_end(
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
    compare(tmp_path / "through", tmp_path / "run")


@pytest.mark.parametrize("epoch", [1, 3], ids=["in the middle", "the last"])
def test_a_run_killed_between_the_checkpoint_of_an_epoch_and_its_figures_has_them_all_the_same(
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
    assert differences(outcome(tmp_path / "through"), outcome(tmp_path / "run")) == []
    results = [
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("through", "run")
    ]
    through, killed = (result["train_seconds"] * result["images_per_second"] for result in results)
    assert killed == pytest.approx(through)  # the images of all epochs, in the time of all epochs


def test_the_newest_run_is_continued_with_its_overrides(run: Run, tmp_path: Path) -> None:
    for folder, epochs in (("2026-01-01/00-00-01", 2), ("2026-01-01/00-00-02", 1)):
        assert (
            run(
                "train",
                "model.alpha=2",
                f"epochs={epochs}",
                f"hydra.run.dir=outputs/train/{folder}",
            )[0]
            == 0
        )
    code, _, err = run("train", "ckpt_path=last", "epochs=3")
    assert (code, err) == (0, "")
    result = json.loads((tmp_path / "outputs/train/2026-01-01/00-00-02/result.json").read_text())
    assert (result["epochs"], result["parameters"]) == (3, 2988)
    assert sorted(path.name for path in (tmp_path / "outputs/train/2026-01-01").iterdir()) == [
        "00-00-01",
        "00-00-02",
    ]
    with (tmp_path / "outputs/train/2026-01-01/00-00-02/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]


def test_there_is_nothing_to_continue(run: Run, tmp_path: Path) -> None:
    code, _, err = run("train", "ckpt_path=last")
    assert (code, err.count("\n")) == (1, 1)
    assert "ckpt_path=last finds no checkpoints/last.ckpt in any folder of outputs/train" in err
    code, _, err = run("train", "ckpt_path=last", "hydra.run.dir=run")
    assert (code, err) == (1, "error: ckpt_path=last finds no checkpoints/last.ckpt in run\n")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_written_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDDLE", "u")
    assert run("train", "epochs=1", "model.alpha=2", "hydra.run.dir=run")[0] == 0
    before = Path("run/.hydra/overrides.yaml").read_text()
    Path("run/train").mkdir()
    for entry, *given in (
        ("train", "epochs=2", "hydra.run.dir=run"),
        ("train", "epochs=2", "++hydra.run.dir=run"),
        ("train", "epochs=2", "hydra.run.dir=r${oc.env:MIDDLE}n"),
        ("train", "epochs=2", "hydra.run.dir=run/${hydra:job.name}/.."),
        ("train", "epochs=2", "hydra.run.dir=run", "ckpt_path=elsewhere/checkpoints/last.ckpt"),
        ("evaluate", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=run"),
    ):
        code, _, err = run(entry, *given)
        assert (code, err.count("\n")) == (1, 1)
        assert re.search(
            "hydra.run.dir must be another folder than 'run(/train/..)?', which holds a run;", err
        )
    assert Path("run/.hydra/overrides.yaml").read_text() == before


@pytest.mark.parametrize(("name", "given"), [("my run", "'my run'"), ("Ada's", '"Ada\'s"')])
def test_a_folder_in_quotes_is_the_same_folder(
    name: str, given: str, run: Run, tmp_path: Path
) -> None:
    assert run("train", "epochs=1", "model.alpha=2", f"hydra.run.dir={given}")[0] == 0
    code, _, err = run("train", "epochs=2", f"hydra.run.dir={given}")
    assert (code, err.count("\n")) == (1, 1)
    assert f"hydra.run.dir must be another folder than {name!r}, which holds a run;" in err
    told = re.search(r"; python train.py (.*) continues that one\n", err)
    assert told is not None
    assert run("train", *shlex.split(told[1]), "epochs=2")[0] == 0
    assert json.loads((tmp_path / name / "result.json").read_text())["epochs"] == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]
    # The newest in outputs/train, with the word in quotes.
    (tmp_path / "outputs/train/today").mkdir(parents=True)
    (tmp_path / name).rename(tmp_path / "outputs/train/today" / name)
    assert run("train", "ckpt_path='last'", "epochs=3")[0] == 0
    assert (
        json.loads((tmp_path / "outputs/train/today" / name / "result.json").read_text())["epochs"]
        == 3
    )


def test_another_option_of_a_group_drops_what_the_run_changed_of_it(
    run: Run, tmp_path: Path
) -> None:
    changed = (
        "callbacks=ema",
        "callbacks.ema.window=0.5",
        "optimizer.lr=0.01",
        "dataset.batch_size=64",
    )
    assert run("train", "epochs=1", "model.alpha=2", *changed, "hydra.run.dir=run")[0] == 0
    resume = ("train", "ckpt_path=last", "hydra.run.dir=run")

    def now(key: str) -> object:
        return OmegaConf.select(OmegaConf.load(tmp_path / "run/.hydra/config.yaml"), key)

    # The option that the run has, chosen or by default, is no other.
    assert run(*resume, "epochs=2", "callbacks=ema", "dataset=digits") == (0, ANY, "")
    assert (now("callbacks.ema.window"), now("dataset.batch_size")) == (0.5, 64)
    with pytest.warns(UserWarning, match="add the following callbacks: .'ExponentialAverage'"):
        assert run(*resume, "epochs=3", "callbacks=default")[0] == 0
    assert (now("callbacks.ema"), now("optimizer.lr")) == (None, 0.01)
    for shown in (
        (*resume, "seed=3", "--cfg", "job"),
        ("train", "--cfg", "job", *resume[1:], "seed=3"),
    ):
        out = run(*shown)[1]
        assert ("lr: 0.01\n" in out, "seed: 3\n" in out) == (True, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "model=resnet",
            "ckpt_path must be a checkpoint of the network that model and dataset describe;",
        ),
        (
            "optimizer=adamw",
            "optimizer._target_ must be torch.optim.SGD, as of the run that ckpt_path is of, got torch.o",
        ),
        (
            "optimizer.decay_norm_and_bias=false",
            "optimizer.decay_norm_and_bias must be True, as of the run that ckpt",
        ),
    ],
)
def test_a_run_that_cannot_be_continued_so_keeps_its_record(
    change: str, message: str, run: Run, tmp_path: Path
) -> None:
    assert run("train", "epochs=1", "model.alpha=2", "hydra.run.dir=run")[0] == 0
    before = contents(tmp_path / "run")
    resume = (
        "train",
        "ckpt_path=last",
        "hydra.run.dir=run",
        change,
        "epochs=2",
        "hydra.job.chdir=true",
    )
    code, _, err = run(*resume)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith(f"error: {message}")
    assert contents(tmp_path / "run") == before


def test_a_run_that_is_stopped_before_its_first_checkpoint_keeps_its_record(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("train", "epochs=1", "model.alpha=2", "hydra.run.dir=run")[0] == 0
    before = contents(tmp_path / "run")

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("contnet.commands.build.data", stop)
        assert (
            run("train", "ckpt_path=last", "hydra.run.dir=run", "optimizer.lr=5", "epochs=2")[0]
            == 130
        )
    assert contents(tmp_path / "run") == before


def test_a_run_goes_on_with_the_optimizer_settings_that_are_typed(run: Run, tmp_path: Path) -> None:
    assert run("train", "epochs=1", "model.alpha=2", "hydra.run.dir=run")[0] == 0
    typed = ("optimizer.lr=0.01", "optimizer.weight_decay=0.25", "lr_schedule.milestones=[2]")
    assert run("train", "ckpt_path=last", "hydra.run.dir=run", "epochs=3", *typed)[0] == 0
    rates = [float(row["lr"]) for row in metrics(tmp_path / "run", ["lr"])]
    assert rates == pytest.approx([0.1, 0.001, 0.001])
    (group,) = torch.load(tmp_path / "run" / LAST, weights_only=True)["optimizer_states"][0][
        "param_groups"
    ]
    assert (group["initial_lr"], group["weight_decay"]) == (0.01, 0.25)


@pytest.mark.parametrize("finished", [True, False])
def test_a_sweep_does_not_write_over_the_jobs_of_another(
    finished: bool, run: Run, tmp_path: Path
) -> None:
    sweep = ("train", "-m", "epochs=1", "model.alpha=2", "hydra.sweep.dir=sweep")
    assert run(*sweep, "seed=1")[0] == 0
    job = tmp_path / "sweep" / "0"
    if not finished:
        (job / "result.json").unlink()
    before = contents(job)
    for other, difference in (
        (("seed=2",), "seed: 1, here 2"),
        (("seed=2", "hydra/launcher=joblib"), "seed: 1, here 2"),
        (
            ("seed=1", "callbacks=ema"),
            "callbacks.ema._target_: None, here contnet.training.callbacks.averaging.ExponentialAverage",
        ),
        (("seed=1", f"ckpt_path={job / LAST}", "epochs=2"), f"ckpt_path: None, here {job / LAST}"),
    ):
        if "hydra/launcher=joblib" in other:
            pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
        code, out, err = run(*sweep, *other)
        assert (code, out.count("is finished already")) == (1, 0)
        assert err.splitlines()[-1].startswith(
            "error: hydra.sweep.dir and hydra.sweep.subdir must lead to other "
        )
        assert err.endswith(f"which holds a run with another configuration ({difference})\n")
        assert contents(job) == before
    assert not finished or "seed=1" in (tmp_path / "sweep" / "sweep_jobs.csv").read_text()


def test_a_sweep_goes_on_where_its_folder_was_moved(run: Run, tmp_path: Path) -> None:
    sweep = ("train", "-m", "epochs=1", "model.alpha=2", "seed=1,2")
    assert run(*sweep, "hydra.sweep.dir=sweep")[0] == 0
    for name in ("moved", "again"):
        next(tmp_path.iterdir()).rename(tmp_path / name)
        result = tmp_path / name / "1" / "result.json"
        result.unlink()
        code, out, err = run(*sweep, f"hydra.sweep.dir={name}")
        assert (code, out.count("is finished already"), err) == (0, 1, "")
        assert json.loads(result.read_text())["seed"] == 2


def test_a_job_that_fails_leaves_the_result_that_is_there(
    run: Run, tmp_path: Path, monkeypatch
) -> None:
    sweep = ("train", "-m", "epochs=1", "model.alpha=2", "hydra.sweep.dir=sweep")
    assert run(*sweep, "~callbacks", "seed=1")[0] == 0
    before = contents(tmp_path / "sweep" / "0")
    monkeypatch.setattr("contnet.commands.result.training", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(*sweep, "seed=1")
    after = contents(tmp_path / "sweep" / "0")
    assert after[tmp_path / "sweep/0/result.json"] == before[tmp_path / "sweep/0/result.json"]


def contents(folder: Path) -> dict[Path, bytes]:
    """What a run has left to go on from, and its result."""
    files = (folder / LAST, folder / "result.json", *(folder / ".hydra").iterdir())
    return {file: file.read_bytes() for file in files if file.exists()}


def test_a_checkpoint_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    io, path = AtomicCheckpointIO(), tmp_path / "checkpoints" / "last.ckpt"
    io.save_checkpoint({"epoch": 1}, path)

    def crash(*arguments: object) -> None:
        assert io.load_checkpoint(path) == {"epoch": 1}
        raise OSError("crash")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(OSError, match="crash"):
            io.save_checkpoint({"epoch": 2}, path)
    assert io.load_checkpoint(path) == {"epoch": 1}
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    io.save_checkpoint({"epoch": 2}, path)
    assert io.load_checkpoint(path) == {"epoch": 2}


def test_a_checkpoint_is_written_every_so_many_minutes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    original = AtomicCheckpointIO.save_checkpoint

    def save(
        self: AtomicCheckpointIO, checkpoint: dict, path: object, storage_options: object = None
    ) -> None:
        saved.append(checkpoint["global_step"])
        original(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", save)
    options = ("epochs=2", "model.alpha=2", "~callbacks.best", "dataset.batch_size=256")
    assert (
        run("train", *options, "callbacks.checkpoint.every_n_minutes=1e-9", "hydra.run.dir=often")[
            0
        ]
        == 0
    )
    assert saved == list(range(1, 13))
    saved.clear()
    assert run("train", *options, "hydra.run.dir=by_epoch")[0] == 0
    assert saved == [6, 12]


def test_a_loader_goes_on_with_the_next_batch_of_the_same_order() -> None:
    images = ArrayImages(torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1), torch.arange(10))
    for workers in (0, 1):
        loader = batch_loader(images, 2, seed=3, num_workers=workers)
        loader.sampler.set_epoch(4)
        through = [labels.tolist() for _, labels in loader]
        iterator = iter(loader)
        for _ in range(2):
            next(iterator)
        state = loader.state_dict()
        resumed = batch_loader(images, 2, seed=3, num_workers=workers)
        resumed.load_state_dict(state)
        resumed.sampler.set_epoch(4)
        assert [labels.tolist() for _, labels in resumed] == through[2:]
        resumed.sampler.set_epoch(5)
        assert len([labels for _, labels in resumed]) == len(resumed) == 5


def test_metrics_keep_the_rows_before_the_checkpoint_and_replace_those_after(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.csv"
    first = MetricsFile(str(path))
    for step in (1, 2, 3):
        first.log_metrics({"epoch": step, "loss": float(step)}, step)
        first.log_metrics({"accuracy": 0.5}, step)
    resumed = MetricsFile(str(path), ckpt_path="last.ckpt")
    resumed.log_metrics({"epoch": 2, "loss": 9.0}, 2)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["loss"], row["accuracy"]) for row in rows] == [
        ("1", "1.0", "0.5"),
        ("2", "9.0", "0.5"),
    ]
    MetricsFile(str(path)).log_metrics({"loss": 7.0}, 0)
    assert path.read_text().splitlines() == ["epoch,step,loss", ",0,7.0"]


# --- sweeps


def test_a_sweep_that_was_stopped_is_finished_by_running_it_again(tmp_path: Path) -> None:
    sweep = ("-m", "epochs=3", "model.alpha=2", "seed=1,2,3", "hydra.sweep.dir=sweep")
    stop = """
import os, signal
from contnet.training.callbacks.throughput import Throughput
original = Throughput.on_train_batch_start
def then(self, trainer, pl_module, batch, batch_idx):
    original(self, trainer, pl_module, batch, batch_idx)
    if pl_module.seed == 2 and trainer.current_epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
Throughput.on_train_batch_start = then
"""
    assert script("", *sweep, folder=tmp_path).returncode == 0
    through = (tmp_path / "sweep" / "sweep.csv").read_text()
    again = script("", *sweep, folder=tmp_path)
    assert again.stdout.count("is finished already") == 3
    (tmp_path / "sweep").rename(tmp_path / "through")

    assert script(stop, *sweep, folder=tmp_path).returncode == -signal.SIGKILL
    finished = script("", *sweep, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("is finished already") == 1
    assert (
        finished.stdout.count("epoch 1/3") == 1
    )  # of the third job alone: the second goes on with its second epoch
    assert finished.stdout.count("epoch 2/3") == 2
    names = ("test_accuracy_mean", "test_loss_mean", "test_accuracy_std", "runs")
    tables = [
        list(csv.DictReader(text.splitlines()))
        for text in (through, (tmp_path / "sweep/sweep.csv").read_text())
    ]
    assert [[row[name] for name in names] for row in tables[0]] == [
        [row[name] for name in names] for row in tables[1]
    ]


@pytest.mark.parametrize(
    ("plugin", "launcher"),
    [
        ("hydra_joblib_launcher", ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")),
        ("hydra_submitit_launcher", ("hydra/launcher=submitit_local",)),
    ],
    ids=["joblib", "submitit"],
)
def test_a_sweep_has_the_same_table_whichever_launcher_ran_it(
    tmp_path: Path, plugin: str, launcher: tuple[str, ...]
) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    sweep = ("-m", "epochs=1", "model.alpha=0,2", "seed=1,2")
    script("", *sweep, "hydra.sweep.dir=basic", folder=tmp_path)
    done = script("", *sweep, *launcher, "hydra.sweep.dir=other", folder=tmp_path)
    assert done.returncode == 1
    assert (
        "job 1 (epochs=1 model.alpha=0 seed=2) failed: model.alpha must be a whole number"
        in " ".join(done.stdout.split())
    )
    tables = []
    for name in ("basic", "other"):
        with (tmp_path / name / "sweep.csv").open() as file:
            rows = [
                {k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)
            ]
        assert [(row["runs"], row["failed"]) for row in rows] == [("0", "2"), ("2", "0")]
        tables.append(rows)
    assert tables[0] == tables[1]


def test_a_search_maximises_the_accuracy_on_validation_images(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ("-m", "hydra/sweeper=search", "hydra.sweeper.n_trials=2", "epochs=1", "model.alpha=2")
    done = script("", *search, "hydra.sweep.dir=search", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = OmegaConf.load(tmp_path / "search" / "optimization_results.yaml")
    results = [
        json.loads((tmp_path / "search" / str(i) / "result.json").read_text()) for i in range(2)
    ]
    assert found.best_value == max(result["val_accuracy"] for result in results)


# --- accidents


def test_a_loss_that_is_no_number_ends_the_run_with_the_step_and_the_rate(
    run: Run, tmp_path: Path
) -> None:
    poison = at_batch(2, 1, "pl_module.network.head.linear.weight.data.fill_(float('nan'))")
    done = script(poison, *SMALL, "hydra.run.dir=run", folder=tmp_path)
    assert done.returncode == 1
    step = 2 * 21 + 2
    assert (
        f"error: the loss is infinite or not a number since step {step} (epoch 2, lr 0.1); lower"
        in done.stderr
    )
    assert done.stderr.endswith("to resume: python train.py ckpt_path=last hydra.run.dir=run\n")
    assert "Traceback" not in done.stderr
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 1
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    code, _, err = run(
        "train", "epochs=2", "model.alpha=2", "optimizer.lr=1e30", "hydra.run.dir=hot"
    )
    assert (code, "it had no checkpoint yet" in err) == (1, True)


def test_a_full_disk_is_told_and_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    fill = at_batch(
        1, 3, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    )
    done = script(fill, *SMALL, "hydra.run.dir=run", "~logger.tensorboard", folder=tmp_path)
    assert done.returncode == 1
    assert (
        "error: there is no room left to write; free some, or choose a folder on another disk"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 0
    assert [
        f.name for f in (tmp_path / "run/checkpoints").iterdir() if f.name.startswith(".")
    ] == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000
    assert script("", "ckpt_path=last", "hydra.run.dir=run", folder=tmp_path).returncode == 0


def test_a_run_folder_that_cannot_be_made_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run("train", "epochs=1", "hydra.run.dir=file/run")
    assert (code, err.count("\n")) == (1, 1)
    assert "error: hydra.run.dir must be a folder that can be written to; " in err


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for split, n in (("train", 40), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(n):
                Image.new("RGB", (8, 8), (i, 0, 0)).save(
                    tmp_path / "data" / split / name / f"{i}.png"
                )
    return tmp_path


FOLDER = (
    "dataset=image_folder",
    "dataset.root=data",
    "dataset.image_size=8",
    "dataset.memory_gb=0",
)
STREAMED = (
    *FOLDER,
    "dataset.batch_size=8",
    "dataset.val_size=0",
    "epochs=3",
    "model.alpha=2",
    "hydra.run.dir=run",
)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_disappear_while_training_are_named(pictures: Path, workers: int) -> None:
    remove = at_batch(1, 1, "import shutil; shutil.rmtree('data/train/cat')")
    done = script(remove, *STREAMED, f"dataset.num_workers={workers}", folder=pictures)
    assert done.returncode == 1
    assert "error: dataset.root: cannot use data/train/cat/" in done.stderr
    assert "the file is no longer there\nto resume: python train.py ckpt_path=last" in done.stderr
    assert "Traceback" not in done.stderr
    checkpoint = torch.load(pictures / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 1  # the state at the accident, within the epoch
    assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["completed"] >= 2


def test_a_worker_that_is_killed_is_told(pictures: Path) -> None:
    kill = at_batch(
        0, 1, "import multiprocessing as m; [os.kill(c.pid, 9) for c in m.active_children()]"
    )
    done = script(kill, *STREAMED, "dataset.num_workers=1", folder=pictures)
    assert done.returncode == 1
    # A thread of multiprocessing's may have had its say before.
    told = done.stderr.splitlines()[-2]
    assert told.startswith(
        "error: a process that prepares batches was killed, often for want of memory; lower"
    )


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()]
)
def test_a_worker_that_is_killed_while_it_hands_over_a_batch_is_told(error: Exception) -> None:
    assert str(accidents.explanation(error)).startswith(
        "a process that prepares batches was killed"
    )


def test_a_lack_of_memory_says_what_to_lower(tmp_path: Path) -> None:
    greedy = at_batch(0, 1, "torch.empty(10**15)")
    done = script(greedy, *SMALL, "hydra.run.dir=run", folder=tmp_path)
    assert done.returncode == 1
    assert "error: out of memory; lower dataset.batch_size, " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unforeseen_error_leaves_the_state_it_happened_in(tmp_path: Path) -> None:
    done = script(
        at_batch(1, 7, "raise ZeroDivisionError"), *SMALL, "hydra.run.dir=run", folder=tmp_path
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (1, 21 + 8)


# --- safety


class Malicious:
    def __reduce__(self) -> tuple:
        return os.system, ("touch executed",)


def test_a_malicious_checkpoint_is_not_executed_and_says_why(run: Run, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "contnet": Malicious()}, tmp_path / "evil.ckpt")
    for entry in ("train", "evaluate"):
        code, _, err = run(entry, "ckpt_path=evil.ckpt")
        assert (code, err.count("\n")) == (1, 1)
        assert "holds objects that would have to be executed to be read" in err
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "contnet.runs.provenance.subprocess.run",
        "pytorch_lightning.trainer.trainer.os.system",
        "torchvision.datasets.cifar.pickle.loads",
        "contnet.restore.torch.load",
        "builtins.eval",
    ],
)
def test_a_configuration_calls_nothing_but_trusted_packages(
    run: Run, tmp_path: Path, target: str
) -> None:
    code, _, err = run("train", f"dataset._target_={target}")
    assert (code, err.count("\n")) == (1, 1)
    assert (
        "dataset._target_ must name something of contnet., torch.optim., pytorch_lightning., "
        in err
    )
    assert run("train", "epochs=1", "model.alpha=2", "hydra.run.dir=run")[0] == 0
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    checkpoint["contnet"]["config"]["dataset"]["_target_"] = target
    torch.save(checkpoint, "edited.ckpt")
    code, _, err = run("evaluate", "ckpt_path=edited.ckpt")
    assert (code, err.count("\n")) == (1, 1)
    assert "_target_ must name something of " in err


# --- several processes


def torchrun(folder: Path, *options: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "HYDRA_FULL_ERROR": "0",
    }
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


DDP = (
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "dataset.batch_size=64",
    "epochs=2",
    "model.alpha=2",
)


def test_two_agents_with_a_process_each_train_as_one_agent_with_two(tmp_path: Path) -> None:
    train = (str(ROOT / "train.py"), *DDP)
    # A run in the current folder is none of theirs, though all but the leading process have no other folder.
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / LAST).touch()
    one = torchrun(
        tmp_path,
        "--standalone",
        "--nproc-per-node=2",
        *train,
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
    agents = [torchrun(tmp_path, *meeting, *train, *nodes) for _ in range(2)]
    for agent in agents:
        out, _ = agent.communicate(timeout=240)
        assert agent.returncode == 0, out
    (folder,) = (tmp_path / "outputs" / "train").glob("*/*")  # one run, one folder
    two = folder
    for name in ("checkpoints/last.ckpt", "metrics.csv", "result.json", ".hydra/config.yaml"):
        assert (two / name).is_file()
    compare(tmp_path / "one", two)
    results = [json.loads((path / "result.json").read_text()) for path in (tmp_path / "one", two)]
    assert results[0]["test_loss"] == results[1]["test_loss"]


def test_a_sweep_under_torchrun_has_one_folder_and_one_table(tmp_path: Path) -> None:
    sweep = (*DDP, "trainer.devices=2", "epochs=1", "seed=1,2")
    agent = torchrun(
        tmp_path, "--standalone", "--nproc-per-node=2", str(ROOT / "train.py"), "-m", *sweep
    )
    out, _ = agent.communicate(timeout=240)
    assert agent.returncode == 0, out
    (folder,) = (tmp_path / "outputs" / "multirun").glob("*/*")
    with (folder / "sweep.csv").open() as file:
        assert [row["runs"] for row in csv.DictReader(file)] == ["2"]
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


def test_two_processes_told_to_stop_agree_and_go_on_to_the_same_end(tmp_path: Path) -> None:
    options = (*DDP, "trainer.devices=2", "dataset.batch_size=32")
    driver = tmp_path / "driver.py"
    launch = [sys.executable, str(driver), *options]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "HYDRA_FULL_ERROR": "0",
    }

    def go(code: str, *more: str) -> subprocess.CompletedProcess[str]:
        driver.write_text(
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nimport train; train.main()"
        )
        command = (
            [*launch, *more]
            if more[0] != "ckpt_path=last"
            else [sys.executable, str(driver), *more]
        )
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    assert go("", "hydra.run.dir=through").returncode == 0
    stop = at_batch(1, 3, "trainer.is_global_zero or os.kill(os.getpid(), signal.SIGTERM)")
    stopped = go(stop, "hydra.run.dir=run")
    assert stopped.returncode == 75, stopped.stderr
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"n_batches": 10}]
    assert len(checkpoint["contnet"]["train_score"]) == 2
    resumed = go("", "ckpt_path=last", "hydra.run.dir=run")
    assert resumed.returncode == 0, resumed.stderr
    compare(tmp_path / "through", tmp_path / "run")


# --- killed at random


@pytest.mark.parametrize(
    "options", [("--kills", "3"), ("--kills", "1", "--processes", "2")], ids=["one", "two"]
)
def test_a_run_killed_at_random_moments_ends_as_the_one_that_was_not(
    options: tuple[str, ...],
) -> None:
    command = [sys.executable, "-m", "benchmarks.kill", *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit for bit" in done.stdout
