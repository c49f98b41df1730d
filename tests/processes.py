"""Start runs in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def script(
    code: str, *overrides: str, folder: Path, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run train.py with the given overrides in a process of its own, after `code`."""
    driver = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nimport train; train.main()"
    return subprocess.run(
        [sys.executable, "-c", driver, *overrides],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "HYDRA_FULL_ERROR": "0",
    }


def torchrun(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
