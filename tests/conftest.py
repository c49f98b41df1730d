import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

sys.path.append(
    str(Path(__file__).parents[1])
)  # train.py and evaluate.py are no part of the package

# Tests run beside each other, one thread each; and what is compared to the last bit is computed
# alike everywhere.
torch.set_num_threads(1)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return `run("train", *overrides)` -> (exit code, stdout, stderr), in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(entry: str, *overrides: str) -> tuple[int, str, str]:
        import evaluate
        import train

        main = {"train": train.main, "evaluate": evaluate.main}[entry]
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
