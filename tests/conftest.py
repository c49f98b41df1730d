import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from tests.processes import train

# Tests run beside each other, one thread each; and what is compared to the last bit is computed
# alike everywhere.
torch.set_num_threads(1)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    done = train("epochs=1", "model.alpha=2", "hydra.run.dir=run", folder=folder)
    assert done.returncode == 0, done
    return folder / "run"


@pytest.fixture
def trained(_trained_once: Path, tmp_path: Path) -> Path:
    """Return the folder `run` of a network that was trained for an epoch there."""
    return shutil.copytree(_trained_once, tmp_path / "run")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return `run("train", *overrides)` -> (exit code, stdout, stderr), in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(entry: str, *overrides: str) -> tuple[int, str, str]:
        main = import_module(f"contnet.commands.{entry}").main
        monkeypatch.setattr(sys, "argv", [f"{entry}.py", *overrides])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return call
