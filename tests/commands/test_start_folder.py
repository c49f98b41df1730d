"""Paths mean the folder in which a command was typed, wherever Hydra changes to."""

from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.outcomes import result

CHDIR = "hydra.job.chdir=true"
TINY = (
    *("dataset=image_folder", "dataset.root=data", "dataset.image_size=8", "dataset.val_size=0"),
    *("model.alpha=1", "epochs=1"),
)


@pytest.fixture
def data(tmp_path: Path) -> None:
    for split, name, i in product(("train", "test"), ("cat", "dog"), range(2)):
        folder = tmp_path / "data" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(folder / f"{i}.png")


@pytest.mark.usefixtures("data")
def test_relative_paths_mean_the_folder_of_the_command_with_and_without_chdir(
    run: Run, tmp_path: Path
) -> None:
    code, out, err = run("train", *TINY, CHDIR, "hydra.run.dir=a")
    assert (code, err) == (0, "")
    assert "a/checkpoints/last.ckpt" in out
    go_on = ("ckpt_path=a/checkpoints/last.ckpt", "epochs=2", CHDIR)
    assert run("train", *TINY, *go_on, "hydra.run.dir=b")[0] == 0
    assert result("b")["epochs"] == 2
    # The data are where the record of the run says, and the store is where it is without chdir.
    for place in ("c", "d"):
        study = ("ckpt_path=a", "sweep.convergence=false", f"hydra.run.dir={place}")
        code, _, err = run("evaluate", *study, CHDIR)
        assert (code, err) == (0, "")
        assert (tmp_path / place / "invariance.csv").is_file()
    assert list((tmp_path / "outputs" / "evaluate" / "store").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a",
        "b",
        "c",
        "d",
        "data",
        "outputs",
    ]


@pytest.mark.usefixtures("data")
def test_the_jobs_of_a_sweep_find_relative_paths_too(run: Run) -> None:
    assert run("train", "-m", *TINY, CHDIR, "seed=1,2", "hydra.sweep.dir=sweep")[0] == 0
    assert [result(f"sweep/{job}")["seed"] for job in (0, 1)] == [1, 2]
