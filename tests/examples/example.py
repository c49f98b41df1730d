"""Load and run the files of examples/."""

import json
import runpy
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "examples"
NOTEBOOK = FOLDER / "digits.ipynb"


def names_of(name: str) -> dict[str, Any]:
    """Return the names that an example defines, without running its `main`."""
    return runpy.run_path(str(FOLDER / name))


def main_of(name: str) -> None:
    """Run an example as `python NAME` does."""
    runpy.run_path(str(FOLDER / name), run_name="__main__")


def cells() -> list[dict[str, Any]]:
    """Return the cells of the notebook that are code."""
    notebook = json.loads(NOTEBOOK.read_text())
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
