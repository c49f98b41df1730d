"""The code that the store of outcomes compares: by its meaning, not by its text."""

from pathlib import Path

import pytest
import torch

from contnet.commands import environment as module
from contnet.commands.environment import environment, syntax

SOURCE = '''
def euler(x, rate, h):
    """Take one step."""
    return x + h * rate(x)
'''


@pytest.mark.parametrize(
    "same",
    [
        SOURCE.replace('"""Take one step."""', '"""Step once."""'),
        SOURCE.replace('    """Take one step."""\n', ""),
        SOURCE.replace("rate(x)\n", "rate(x)  # explicit\n"),
        SOURCE.replace("x + h * rate(x)", "(\n        x + h * rate(x)\n    )"),
        f'"""Schemes."""\n{SOURCE}',
    ],
    ids=["another docstring", "no docstring", "a comment", "line breaks", "a module's docstring"],
)
def test_prose_and_layout_are_no_part_of_the_syntax(same: str) -> None:
    assert same != SOURCE
    assert syntax(same) == syntax(SOURCE)


@pytest.mark.parametrize(
    "other",
    [
        SOURCE.replace("+", "-"),
        SOURCE.replace("h):", "h=1.0):"),
        SOURCE.replace("rate(x)", "rate(x, 'left')"),
    ],
    ids=["an operator", "a default", "a string that is an argument"],
)
def test_other_code_has_another_syntax(other: str) -> None:
    assert syntax(other) != syntax(SOURCE)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ode", "networks", "data", "invariance", "training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "euler.py").write_text(SOURCE)
    for name in ("outcome.py", "recalibration.py", "report.py"):
        (tmp_path / "invariance" / name).write_text(SOURCE)
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    return tmp_path


def test_code_that_computes_logits_is_a_part_of_the_environment(package: Path) -> None:
    def change(name: str, text: str) -> bool:
        before = environment(torch.device("cpu"))
        (package / name).write_text(text)
        return environment(torch.device("cpu")) != before

    computes = ("ode/euler.py", "networks/euler.py", "data/euler.py", "invariance/outcome.py")
    for name in (*computes, "invariance/recalibration.py"):
        assert not change(name, f"# explicit\n{SOURCE}")
        assert change(name, SOURCE.replace("+", "-"))
    assert change("ode/new.py", SOURCE)
    for name in ("training/euler.py", "invariance/report.py"):
        assert not change(name, SOURCE.replace("+", "-"))


def test_the_environment_is_of_the_files_of_the_package() -> None:
    for name in module.COMPUTING:
        assert (module.PACKAGE / name).exists(), name
