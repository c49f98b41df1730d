"""Loggers of services that keep runs: each job is a run of its own there, closed at its end."""

import json
import sqlite3
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contnet.commands.tracking import check_installed
from contnet.errors import ConfigError
from tests.configuration import composed
from tests.conftest import Run
from tests.outcomes import result
from tests.processes import train

# The second of three jobs diverges.
SWEEP = (
    "-m",
    "epochs=1",
    "model.alpha=2",
    "trainer.limit_train_batches=2",
    "optimizer.lr=0.1,1e30,0.2",
    "hydra.sweep.dir=sweep",
)


@pytest.mark.long
def test_each_job_is_a_run_of_mlflow_in_a_local_database(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    swept = train(*SWEEP, "logger=mlflow", "logger.mlflow.run_name=mine", folder=tmp_path)
    assert swept.returncode == 1
    assert "lower optimizer.lr" in swept.stderr
    with sqlite3.connect(tmp_path / "outputs" / "mlflow" / "mlflow.db") as database:
        query = "select run_uuid, status, name, artifact_uri from runs order by start_time"
        runs = database.execute(query).fetchall()
        found = {
            table: [dict(_values(database, table, run[0])) for run in runs]
            for table in ("latest_metrics", "params")
        }
    assert [run[1] for run in runs] == ["FINISHED", "FAILED", "FINISHED"]
    assert {run[2] for run in runs} == {"mine"}
    artifacts = (tmp_path / "outputs" / "mlflow" / "artifacts").as_uri()
    assert all(run[3].startswith(artifacts) for run in runs)
    assert [run["optimizer.lr"] for run in found["params"]] == ["0.1", "1e+30", "0.2"]
    for job in (0, 2):
        left = result(tmp_path / "sweep" / str(job))
        logged = found["latest_metrics"][job]
        assert logged["test_accuracy"] == pytest.approx(left["test_accuracy"], rel=1e-6)
        assert logged["train_loss"] == pytest.approx(left["train_loss"], rel=1e-6)
        assert (tmp_path / "sweep" / str(job) / "metrics.csv").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", "sweep"}


def _values(database: sqlite3.Connection, table: str, run: str) -> list[tuple[str, Any]]:
    return database.execute(f"select key, value from {table} where run_uuid = ?", [run]).fetchall()


@pytest.mark.long
def test_each_job_is_a_run_of_wandb_in_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    swept = train(*SWEEP, "logger=wandb", "logger.wandb.offline=true", folder=tmp_path)
    assert swept.returncode == 1
    assert "lower optimizer.lr" in swept.stderr
    for job, (lr, exit_code) in enumerate([(0.1, 0), (1e30, 1), (0.2, 0)]):
        folder = tmp_path / "sweep" / str(job)
        [path] = (folder / "wandb").glob("offline-run-*/run-*.wandb")
        records = list(_records(path.read_bytes()))
        assert {record.run.project for record in records if record.HasField("run")} == {"contnet"}
        assert [record.exit.exit_code for record in records if record.HasField("exit")] == [
            exit_code
        ]
        config = {
            item.key: json.loads(item.value_json)
            for record in records
            for item in record.config.update
        }
        assert config["optimizer.lr"] == lr
        history = {
            item.key or item.nested_key[0]: json.loads(item.value_json)
            for record in records
            for item in record.history.item
        }
        if exit_code == 0:
            accuracy = result(folder)["test_accuracy"]
            assert history["test_accuracy"] == pytest.approx(accuracy, rel=1e-6)
            assert (folder / "metrics.csv").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"sweep"}


def _records(file: bytes) -> Iterator[Any]:
    """Yield the records of a run's file: 7 bytes, then a log of LevelDB's in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    block, header, position = 2**15, 7, 7
    whole = b""
    while position + header <= len(file):
        if block - position % block < header:
            position += block - position % block
            continue
        length, kind = struct.unpack_from("<HB", file, position + 4)
        whole += file[position + header : position + header + length]
        position += header + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


@pytest.mark.parametrize("logger", ["wandb", "mlflow"])
def test_a_missing_package_is_named_with_its_extra(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    monkeypatch.setattr("contnet.commands.tracking.find_spec", lambda name: None)
    code, _, err = run("train", f"logger={logger}", "hydra.run.dir=run")
    assert (code, err) == (
        1,
        f"error: logger={logger} needs the package {logger}; "
        f"install it with pip install 'contnet[{logger}]'\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_files_of_wandb_is_not_taken_for_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed("logger=wandb")
    (tmp_path / "wandb" / "run").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(ConfigError, match="logger=wandb needs the package wandb"):
        check_installed(config)


def test_a_server_of_mlflow_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    options = ("logger=mlflow", "logger.mlflow.tracking_uri=nowhere://x", "hydra.run.dir=run")
    refused = train(*options, "model.alpha=2", folder=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: logger=mlflow: ")
    assert refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("logger", ["csv", "tensorboard"])
def test_the_metrics_are_in_a_file_with_every_logger(run: Run, tmp_path: Path, logger: str) -> None:
    options = ("debug=fast", "model.alpha=2", "hydra.run.dir=run", f"logger={logger}")
    assert run("train", *options)[0] == 0
    assert (tmp_path / "run" / "metrics.csv").is_file()
    assert (tmp_path / "run" / "tensorboard").is_dir() == (logger == "tensorboard")
