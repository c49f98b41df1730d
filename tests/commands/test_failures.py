"""Accidents while a run is under way, and what is said of them."""

import resource
from pathlib import Path

import pytest
import torch
from PIL import Image

from contnet.commands import failures as accidents
from tests.processes import train
from tests.runs.small import SMALL


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


def test_a_full_disk_is_told_and_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    options = (*SMALL, "hydra.run.dir=run", "~logger.tensorboard")
    done = train(*options, folder=tmp_path, fault="fill_disk_at_batch:1:3")
    assert done.returncode == 1
    assert (
        "error: no space left to write; free some space, or choose a folder on another disk"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 0
    assert [
        f.name for f in (tmp_path / "run/checkpoints").iterdir() if f.name.startswith(".")
    ] == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000
    assert train("ckpt_path=last", "hydra.run.dir=run", folder=tmp_path).returncode == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_disappear_while_training_are_named(pictures: Path, workers: int) -> None:
    options = (*STREAMED, f"dataset.num_workers={workers}")
    done = train(*options, folder=pictures, fault="remove_folder_at_batch:1:1:data/train/cat")
    assert done.returncode == 1
    assert "error: dataset.root: cannot use data/train/cat/" in done.stderr
    assert "the file is no longer there\nto resume: python train.py ckpt_path=last" in done.stderr
    assert "Traceback" not in done.stderr
    checkpoint = torch.load(pictures / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 1  # the state at the accident, within the epoch
    assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["completed"] >= 2


def test_a_worker_that_is_killed_is_told(pictures: Path) -> None:
    options = (*STREAMED, "dataset.num_workers=1")
    done = train(*options, folder=pictures, fault="kill_workers_at_batch:0:1")
    assert done.returncode == 1
    # A thread of multiprocessing's may have had its say before.
    told = done.stderr.splitlines()[-2]
    assert told.startswith(
        "error: a process that prepares batches was killed, often because memory ran out; lower"
    )


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()]
)
def test_a_worker_that_is_killed_while_it_hands_over_a_batch_is_told(error: Exception) -> None:
    assert str(accidents.advice(error)).startswith("a process that prepares batches was killed")


def test_a_lack_of_memory_says_what_to_lower(tmp_path: Path) -> None:
    greedy = "exhaust_memory_at_batch:0:1"
    done = train(*SMALL, "hydra.run.dir=run", folder=tmp_path, fault=greedy)
    assert done.returncode == 1
    assert "error: out of memory; lower dataset.batch_size, " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unforeseen_error_leaves_the_state_it_happened_in(tmp_path: Path) -> None:
    done = train(*SMALL, "hydra.run.dir=run", folder=tmp_path, fault="fail_at_batch:1:7")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (1, 21 + 8)
