"""examples/own_project is a folder outside the package that trains and is evaluated as it says."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from contnet.runs.checkpoint import Record
from tests.conftest import Run
from tests.outcomes import LAST, load, result, rows

PROJECT = Path(__file__).parents[2] / "examples" / "own_project"


@pytest.mark.long
@pytest.mark.skipif(not PROJECT.is_dir(), reason="the examples are in the repository alone")
def test_the_project_trains_and_is_evaluated_by_the_commands_of_its_readme(
    run: Run, tmp_path: Path
) -> None:
    shutil.copytree(PROJECT, tmp_path, dirs_exist_ok=True)
    (block,) = re.findall(r"```bash\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    training, evaluation = (shlex.split(line)[1:] for line in block.splitlines())
    quick = ("epochs=2", "refine.epochs=[1]", "dataset.n_images=60", "dataset.val_size=0.2")
    code, out, err = run("train", *training, *quick)
    assert (code, err) == (0, "")
    assert "refined 1-1-1 -> 2-2-2" in out
    (folder,) = Path("outputs", "train").glob("*/*")
    assert Record.of(load(folder / LAST)).classes == ("circle", "square", "cross")
    assert result(folder)["scheme"] == "midpoint"
    code, _, err = run("evaluate", *evaluation, "hydra.run.dir=study")
    assert (code, err) == (0, "")
    table = rows("study/invariance.csv")
    assert [row["scheme"] for row in table] == ["midpoint", "euler", "rk4"]
    assert float(table[0]["accuracy"]) == result(folder)["test_accuracy"]
