import subprocess
import sys

import pytest

from tests.processes import ROOT


@pytest.mark.parametrize(
    "options", [("--kills", "3"), ("--kills", "1", "--processes", "2")], ids=["one", "two"]
)
def test_a_run_killed_at_random_moments_ends_as_the_one_that_was_not(
    options: tuple[str, ...],
) -> None:
    command = [sys.executable, "-m", "benchmarks.kill", *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit for bit" in done.stdout
