"""Each concept has one room: names that only their owner spells."""

import ast
from collections.abc import Iterator
from pathlib import Path

import contnet

PACKAGE = Path(contnet.__file__).parent
COMMANDS = ("train", "evaluate", "predict", "export", "compare")
ENTRY_POINTS = [PACKAGE.parent / f"{command}.py" for command in COMMANDS]


def constants(file: Path) -> Iterator[str]:
    """Yield the strings of a module, docstrings left out."""
    tree = ast.parse(file.read_text())
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def spelled_in(text: str) -> list[str]:
    """Return the modules that spell a text in one of their strings."""
    files = [*sorted(PACKAGE.rglob("*.py")), *ENTRY_POINTS]
    found = [file for file in files if any(text in constant for constant in constants(file))]
    return [str(file.relative_to(PACKAGE.parent)) for file in found]


def test_files_of_a_run_are_named_in_one_module() -> None:
    for name in ("last.ckpt", "result.json", "overrides.yaml"):
        assert spelled_in(name) == ["contnet/runs/folder.py"]


def test_the_record_of_a_checkpoint_is_looked_up_in_one_module() -> None:
    keys = []
    for file in [*sorted(PACKAGE.rglob("*.py")), *ENTRY_POINTS]:
        for node in ast.walk(ast.parse(file.read_text())):
            key = node.slice if isinstance(node, ast.Subscript) else None
            if isinstance(key, ast.Constant) and key.value == "contnet":
                keys.append(file)
    assert keys == []
    runs = sorted((PACKAGE / "runs").glob("*.py"))
    # provenance.py means the package of that name, whose version it returns.
    assert [file.name for file in runs if "contnet" in constants(file)] == [
        "provenance.py",
        "schema.py",
    ]


def test_a_file_is_written_atomically_in_one_module() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    writers = [file for file in files if "os.fsync" in file.read_text()]
    assert writers == [PACKAGE / "runs" / "atomic.py"]


def test_no_class_of_networks_is_asked_for_outside_networks() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if file.parent.name != "networks"]
    asking = [file for file in files if "ContinuousNet)" in file.read_text()]
    assert asking == []
