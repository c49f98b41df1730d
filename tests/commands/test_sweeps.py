"""Sweeps: their table, their launchers, and how they are resumed."""

import csv
import re
import shlex
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from contnet.commands.sweep_summary import write_summary
from tests.comparison import folders
from tests.conftest import Run
from tests.outcomes import LAST, record, result, rows
from tests.processes import train, train_as_from_a_shell


def test_a_sweep_ends_with_a_table_over_its_seeds_and_tells_of_failed_jobs(
    run: Run, tmp_path: Path
) -> None:
    sweep = (
        "-m",
        "epochs=1",
        "model.alpha=2",
        "scheme=euler,midpoint",
        "seed=1,2",
        "hydra.sweep.dir=sweep",
    )
    code, out, _ = run("train", *sweep)
    assert code == 0
    assert "mean ± standard deviation over seeds\nin all runs: epochs=1 model.alpha=2\n" in out
    assert re.search(r"│ midpoint │ +2 │ +0\.\d+ ± 0\.\d+ │", out)
    summary = rows("sweep/sweep.csv")
    assert [(row["overrides"], row["runs"]) for row in summary] == [
        ("epochs=1 model.alpha=2 scheme=euler", "2"),
        ("epochs=1 model.alpha=2 scheme=midpoint", "2"),
    ]
    accuracies = [result(f"sweep/{i}")["test_accuracy"] for i in (0, 1)]
    assert float(summary[0]["test_accuracy_mean"]) == pytest.approx(sum(accuracies) / 2)
    assert float(summary[0]["test_accuracy_std"]) == pytest.approx(
        abs(accuracies[0] - accuracies[1]) / 2**0.5
    )
    assert len(rows("sweep/sweep_jobs.csv")) == 4

    code, out, _ = run("train", "-m", "epochs=1", "model.alpha=0,2", "hydra.sweep.dir=partly")
    assert code == 1
    assert (
        "job 0 (epochs=1 model.alpha=0) failed: "
        "model.alpha must be a whole number of at least 1, got 0" in " ".join(out.split())
    )
    assert [(row["runs"], row["failed"]) for row in rows("partly/sweep.csv")] == [
        ("0", "1"),
        ("1", "0"),
    ]

    code, _, err = run("train", "-m", "scheme=euler,eulerr")
    assert (code, err.count("\n")) == (1, 1)
    assert "scheme=eulerr is not an option" in err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.long
@pytest.mark.parametrize("finished", [True, False])
def test_a_sweep_does_not_write_over_the_jobs_of_another(
    finished: bool, run: Run, tmp_path: Path
) -> None:
    sweep = ("train", "-m", "epochs=1", "model.alpha=2", "hydra.sweep.dir=sweep")
    assert run(*sweep, "seed=1")[0] == 0
    job = tmp_path / "sweep" / "0"
    if not finished:
        (job / "result.json").unlink()
    before = record(job)
    for other, difference in (
        (("seed=2",), "seed: 1, here 2"),
        (("seed=2", "hydra/launcher=joblib"), "seed: 1, here 2"),
        (
            ("seed=1", "callbacks=ema"),
            "callbacks.ema._target_: None, "
            "here contnet.training.callbacks.averaging.ExponentialAverage",
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
        assert record(job) == before
    assert not finished or "seed=1" in (tmp_path / "sweep" / "sweep_jobs.csv").read_text()


@pytest.mark.long
def test_a_sweep_goes_on_where_its_folder_was_moved(run: Run, tmp_path: Path) -> None:
    sweep = ("train", "-m", "epochs=1", "model.alpha=2", "seed=1,2")
    assert run(*sweep, "hydra.sweep.dir=sweep")[0] == 0
    for name in ("moved", "again"):
        next(tmp_path.iterdir()).rename(tmp_path / name)
        of_second = tmp_path / name / "1" / "result.json"
        of_second.unlink() if name == "moved" else of_second.write_text("{")  # damaged
        code, out, err = run(*sweep, f"hydra.sweep.dir={name}")
        assert (code, out.count("is finished already"), err) == (0, 1, "")
        assert result(tmp_path / name / "1")["seed"] == 2


def test_a_job_that_fails_leaves_the_result_that_is_there(
    run: Run, tmp_path: Path, monkeypatch
) -> None:
    sweep = ("train", "-m", "epochs=1", "model.alpha=2", "hydra.sweep.dir=sweep")
    assert run(*sweep, "~callbacks", "seed=1")[0] == 0
    before = record(tmp_path / "sweep" / "0")
    monkeypatch.setattr("contnet.commands.result.training", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(*sweep, "seed=1")
    after = record(tmp_path / "sweep" / "0")
    assert after[tmp_path / "sweep/0/result.json"] == before[tmp_path / "sweep/0/result.json"]


@pytest.mark.long
def test_a_sweep_that_was_stopped_is_finished_by_running_it_again(tmp_path: Path) -> None:
    sweep = ("-m", "epochs=3", "model.alpha=2", "seed=1,2,3", "hydra.sweep.dir=sweep")
    assert train(*sweep, folder=tmp_path).returncode == 0
    through = (tmp_path / "sweep" / "sweep.csv").read_text()
    again = train(*sweep, folder=tmp_path)
    assert again.stdout.count("is finished already") == 3
    (tmp_path / "sweep").rename(tmp_path / "through")

    killed = train(*sweep, folder=tmp_path, fault="kill_job:2:1")
    assert killed.returncode == -signal.SIGKILL
    finished = train(*sweep, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("is finished already") == 1
    # Of the third job alone: the second is resumed in its second epoch.
    assert finished.stdout.count("epoch 1/3") == 1
    assert finished.stdout.count("epoch 2/3") == 2
    names = ("test_accuracy_mean", "test_loss_mean", "test_accuracy_std", "runs")
    tables = [
        list(csv.DictReader(text.splitlines()))
        for text in (through, (tmp_path / "sweep/sweep.csv").read_text())
    ]
    assert [[row[name] for name in names] for row in tables[0]] == [
        [row[name] for name in names] for row in tables[1]
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("plugin", "launcher"),
    [
        ("hydra_joblib_launcher", ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")),
        pytest.param(
            "hydra_submitit_launcher",
            ("hydra/launcher=submitit_local",),
            marks=pytest.mark.long,
        ),
    ],
    ids=["joblib", "submitit"],
)
def test_a_sweep_has_the_same_table_whichever_launcher_ran_it(
    tmp_path: Path, plugin: str, launcher: tuple[str, ...]
) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    sweep = ("-m", "epochs=1", "model.alpha=0,2", "seed=1,2")
    train(*sweep, "hydra.sweep.dir=basic", folder=tmp_path)
    done = train_as_from_a_shell(*sweep, *launcher, "hydra.sweep.dir=other", folder=tmp_path)
    assert done.returncode == 1
    assert (
        "job 1 (epochs=1 model.alpha=0 seed=2) failed: model.alpha must be a whole number"
        in " ".join(done.stdout.split())
    )
    tables = []
    for name in ("basic", "other"):
        table = [
            {key: value for key, value in row.items() if "seconds" not in key}
            for row in rows(tmp_path / name / "sweep.csv")
        ]
        assert [(row["runs"], row["failed"]) for row in table] == [("0", "2"), ("2", "0")]
        tables.append(table)
    assert tables[0] == tables[1]


def searched(sweep: Path, *jobs: dict[str, float], sweeper: str = "search") -> None:
    """Write the folders of the jobs of a search for a learning rate, two seeds for each."""
    for i, figures in enumerate(jobs):
        overrides = (f"optimizer.lr=0.0{i // 2}12345678", "model.name=a b", f"seed={i % 2}")
        choices = {"hydra/sweeper": sweeper}
        folders.run(sweep / str(i), *overrides, choices=choices, config={"epochs": 1}, **figures)


def test_a_search_names_the_winner_by_validation_and_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {"val_accuracy": 0.6, "test_accuracy": 0.1}
    other = {"val_accuracy": 0.5, "test_accuracy": 0.9}
    searched(
        tmp_path, other, other, best, {**best, "val_accuracy": 0.5}, {**other, "val_accuracy": 0.0}
    )
    write_summary(tmp_path)
    out = capsys.readouterr().out
    (command,) = [line for line in out.splitlines() if "train.py" in line]
    assert shlex.split(command)[2:] == ["optimizer.lr=0.0112345678", "model.name=a b"]
    assert "* the best val_accuracy; its command:\n" in out
    (marked,) = [line for line in out.splitlines() if line.startswith("│ *")]
    assert "│ 0.011" in marked
    assert "0.0112345678" not in marked
    assert "in all runs: model.name=a b\n" in out


def test_a_winner_of_one_run_keeps_its_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(tmp_path, {"val_accuracy": 0.6})
    write_summary(tmp_path)
    assert " 'model.name=a b' seed=0\n" in capsys.readouterr().out


@pytest.mark.parametrize("figures", [{}, {"val_accuracy": float("nan")}])
def test_a_search_without_validation_has_no_winner(
    figures: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(tmp_path, figures, figures, figures)
    write_summary(tmp_path)
    out = capsys.readouterr().out
    assert "no winner: no job has a val_accuracy to choose by\n" in out
    assert "train.py" not in out
    assert "│ *" not in out


def test_a_sweep_that_is_no_search_has_no_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(tmp_path, *[{"val_accuracy": 0.6}] * 3, sweeper="basic")
    write_summary(tmp_path)
    out = capsys.readouterr().out
    assert "winner" not in out
    assert "train.py" not in out


def test_a_job_with_damaged_files_is_named_at_the_end_of_its_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(tmp_path, {}, {})
    (tmp_path / "1" / "metrics.csv").write_text("epoch\nx\n")
    write_summary(tmp_path)
    assert "seed=1) is not shown: metrics.csv is damaged\n" in capsys.readouterr().out


def test_a_search_maximises_the_accuracy_on_validation_images(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ("-m", "hydra/sweeper=search", "hydra.sweeper.n_trials=2", "epochs=1", "model.alpha=2")
    done = train(*search, "hydra.sweep.dir=search", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = OmegaConf.load(tmp_path / "search" / "optimization_results.yaml")
    accuracies = [result(tmp_path / "search" / str(i))["val_accuracy"] for i in range(2)]
    assert found.best_value == max(accuracies)
