"""The command that measures the tables again, as a user starts it."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.outcomes import rows
from tests.processes import ROOT, Command

Reproduce = Callable[..., tuple[int, str]]


def start(*arguments: str, output: Path) -> Command:
    return Command("benchmarks.reproduce", *arguments, "--output", str(output), folder=ROOT)


@pytest.fixture
def reproduced(tmp_path: Path) -> Reproduce:
    """`reproduced(*arguments)` -> (exit code, what it printed)."""

    def call(*arguments: str) -> tuple[int, str]:
        done = start(*arguments, output=tmp_path / "table").wait()
        return done.returncode, done.stdout + done.stderr

    return call


def finished_run(folder: Path, overrides: list[str], accuracy: float) -> None:
    """Write what a run leaves that has ended with an accuracy after ten minutes."""
    result = {
        "parameters": 272_474,
        "train_seconds": 600.0,
        "machine": "a CPU, 1 thread",
        "versions": {"torch": "2"},
        "test_accuracy": accuracy,
        "git_commit": "a1b2",
    }
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    (folder / "result.json").write_text(json.dumps(result))


@pytest.mark.long
def test_the_comparison_has_the_seeds_figures_beside_mean_and_deviation(
    tmp_path: Path, reproduced: Reproduce
) -> None:
    modern = "cifar10/modern label_smoothing=0 dataset=image_folder dataset.root=missing"
    everywhere = "epochs=30"
    for seed, accuracy in enumerate((0.90, 0.91)):
        overrides = ["experiment=cifar10/resnet20", everywhere, f"seed={seed}"]
        finished_run(tmp_path / "table" / "cifar10-resnet20" / str(seed), overrides, accuracy)
    overrides = ["experiment=cifar10/modern", everywhere, *modern.split()[1:], "seed=0"]
    folder = re.sub(r"[^\w.-]+", "-", modern)
    finished_run(tmp_path / "table" / folder / "0", overrides, 0.90)  # seed 1 finds no images
    code, printed = reproduced("cifar10/resnet20", modern, "--seeds", "0", "1", "--set", everywhere)
    assert (code, "error: 1 of 4 runs failed" in printed) == (1, True)
    row, _ = rows(tmp_path / "table" / "table.csv")
    assert (row["original_accuracy"], row["original_minutes"], row["epochs"], row["seeds"]) == (
        "91.31",
        "48",
        "30",
        "2",
    )
    assert float(row["accuracy_mean"]) == pytest.approx(90.5)
    assert float(row["accuracy_std"]) == pytest.approx(0.5**0.5)
    table = (tmp_path / "table" / "table.md").read_text()
    figures = "30 | 272,474 | 91.31 % | 90.50 ± 0.71 % (2) | 48 min | 10.0 min |"
    assert f"| `cifar10/resnet20` | - | - | {figures}" in table.splitlines()
    assert f"| `{modern}` | euler | - | 30 | 272,474 | - | 90.00 % (1 of 2) |" in table
    for said in (
        "Data: cifar10 in data; image_folder in missing",
        "Machine: a CPU, 1 thread, torch 2",
        "Commit: a1b2",
        "Overrides: epochs=30",
    ):
        assert said in table.splitlines()
    assert table in printed


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Write a folder of images, two of each of two classes."""
    for split in ("train", "test"):
        for shade, name in enumerate(("cat", "dog")):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (8, 8), (200 * shade,) * 3).save(
                    tmp_path / "pictures" / split / name / f"{i}.png"
                )
    return tmp_path / "pictures"


@pytest.mark.long
def test_rows_are_run_once_and_a_run_with_other_overrides_is_no_result(
    pictures: Path, tmp_path: Path, reproduced: Reproduce
) -> None:
    data = (
        "--set",
        "dataset=image_folder",
        "--set",
        f"dataset.root={pictures}",
        "--set",
        "dataset.image_size=8",
    )
    small = (*data, "--set", "model.alpha=1")
    row = "cifar10/resnet20 model.depth=8"
    code, printed = reproduced(row, "--seeds", "3", "3", "--set", "epochs=1", *small)
    assert (code, "seed 3: training" in printed) == (0, True)
    (measured,) = rows(tmp_path / "table" / "table.csv")
    assert (measured["row"], measured["epochs"], measured["seeds"], measured["failed"]) == (
        row,
        "1",
        "1",
        "0",
    )
    assert measured["data"] == f"image_folder in {pictures}"
    code, printed = reproduced(row, "--seeds", "3", "--set", "epochs=1", *small)
    assert (code, "training" in printed) == (0, False)
    assert rows(tmp_path / "table" / "table.csv") == [measured]
    # What a row has of its own holds, whatever is set for all.
    assert (
        reproduced(row, "--seeds", "3", "--set", "model.depth=14", "--set", "epochs=1", *small)[0]
        == 0
    )
    _, printed = reproduced(row, "--seeds", "3", *small)
    assert "holds a run with other overrides than experiment=cifar10/resnet20 " in printed
    (
        tmp_path / "table" / "cifar10-resnet20-model.depth-8" / "3" / ".hydra" / "overrides.yaml"
    ).unlink()
    _, printed = reproduced(row, "--seeds", "3", "--set", "epochs=1", *small)
    assert "hydra.run.dir must be the folder of a run; " in printed


@pytest.mark.long
def test_a_table_that_is_told_to_stop_lets_its_run_save_and_goes_on_from_there(
    pictures: Path, tmp_path: Path, reproduced: Reproduce
) -> None:
    command = (
        "cifar10/resnet20",
        "--set",
        "dataset=image_folder",
        "--set",
        f"dataset.root={pictures}",
    )
    command += ("--set", "model.depth=8", "--set", "model.alpha=1", "--set", "epochs=300")
    last = tmp_path / "table" / "cifar10-resnet20" / "0" / "checkpoints" / "last.ckpt"

    process = start(*command, output=tmp_path / "table")
    while not last.exists() and process.is_running():
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    stopped = process.wait()
    assert stopped.returncode == 75
    assert "the same command goes on from here" in stopped.stderr
    assert not (last.parents[2] / "result.json").exists()
    code, printed = reproduced(*command)
    assert (code, "seed 0: resuming" in printed) == (0, True)
    assert rows(tmp_path / "table" / "table.csv")[0]["seeds"] == "1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar10/resnet21"], "'cifar10/resnet21' is no row; there are cifar10/"),
        ([""], "'' is no row; there are cifar10/"),
        (
            ["cifar10/resnet20 optimizer.lr=1e-1", "cifar10/resnet20 optimizer.lr=1e+1"],
            "optimizer.lr=1e-1 and cifar10/resnet20 optimizer.lr=1e+1 would share a folder; "
            "give them an --output each",
        ),
        (
            ["cifar10/resnet20", "--seeds", "-1"],
            "error: seed must be a whole number of at least 0, got -1",
        ),
        (
            ["cifar10/resnet20", "--set", "seed=3"],
            "error: seed must be left out of overrides, got seed=3; --seeds sets",
        ),
        (
            ["cifar10/resnet20", "--set", "run_dir=q"],
            "error: run_dir must be left out of overrides, got run_dir=q; --",
        ),
        (
            ["cifar10/resnet20 +ckpt_path=a"],
            "error: ckpt_path must be left out of overrides, got +ckpt_path=a; --output",
        ),
        (
            ["cifar10/resnet20", "--set", "epoch=1"],
            "error: epoch is not a key; did you mean epochs?",
        ),
        (
            ["cifar10/resnet20", "--set", "model.depth=21"],
            "error: model.depth must be 6 n + 2, such as 20 or 26, got 21",
        ),
        (
            ["cifar10/continuous_net_rk4_refined", "--set", "epochs=20"],
            "error: refine.epochs must lie before the end of the run at 20, got 25",
        ),
        (
            ["cifar10/resnet20", "--set", "epochs=0"],
            "error: epochs must be a whole number of at least 1, got 0",
        ),
        (
            ["cifar10/resnet20", "--set", "dataset=image_folder"],
            "error: dataset.root must be given, as --set dataset.ro",
        ),
    ],
)
def test_a_table_that_cannot_be_made_is_refused_before_anything_is_run(
    arguments: list[str], message: str, tmp_path: Path, reproduced: Reproduce
) -> None:
    code, printed = reproduced(*arguments)
    assert code != 0
    assert message in printed
    assert not (tmp_path / "table").exists()
