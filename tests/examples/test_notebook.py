"""examples/digits.ipynb has been executed, and runs from its first cell to its last."""

import ast
import json
import platform
import shlex
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from contnet.commands import build
from tests.configuration import composed
from tests.conftest import Run
from tests.examples.example import FOLDER, NOTEBOOK, cells

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the examples are in the repository alone"
)

BASH = "%%bash\n"


def commands() -> list[list[str]]:
    """Return the words of each command line of the notebook."""
    sources = ("".join(cell["source"]) for cell in cells())
    return [_words(source) for source in sources if source.startswith(BASH)]


def _words(source: str) -> list[str]:
    return shlex.split(source.removeprefix(BASH).replace("\\\n", " "))


def _execute(source: str, names: dict[str, Any]) -> None:
    """Execute a cell of Python, and draw the value of its last line as Jupyter does."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)
        if isinstance(value, Image.Image):
            assert value._repr_png_().startswith(b"\x89PNG")


def test_the_notebook_holds_its_outputs_and_says_nothing_of_the_machine() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < 400_000
    assert [cell["execution_count"] for cell in cells()] == [*range(1, len(cells()) + 1)]
    assert {tuple(cell["metadata"]) for cell in cells()} == {()}
    outputs = [output for cell in cells() for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    printed = json.dumps([output.get("text") for output in outputs])
    for private in ("/home/", "/Users/", "/root/", "/tmp/", platform.node()):
        assert private not in printed


def test_the_command_that_trains_composes() -> None:
    train, evaluate, export = commands()
    assert [command[0] for command in (train, evaluate, export)] == [
        "contnet-train",
        "contnet-evaluate",
        "contnet-export",
    ]
    config = composed(*(word for word in train[1:] if not word.startswith("hydra.")))
    build.check(config)


@pytest.mark.long
def test_the_notebook_runs_to_its_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    for cell in cells():
        source = "".join(cell["source"])
        if source.startswith(BASH):
            command, *overrides = _words(source)
            short = ["epochs=1"] if command == "contnet-train" else []
            words = [word for word in overrides if not word.startswith("epochs=")]
            code, _, err = run(command.removeprefix("contnet-"), *words, *short)
            assert (code, err) == (0, "")
        else:
            _execute(source, names)
    plt.close("all")
    labels = names["network"].predict(names["images"]).labels.numpy()
    assert np.array_equal(names["logits"].argmax(axis=1), labels)
    assert names["file"].name == f"{names['choice'].name}_{names['choice'].n_time_steps}.onnx"
