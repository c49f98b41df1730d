import pytest

from tests.processes import ROOT, Command


@pytest.mark.parametrize(
    "options", [("--kills", "3"), ("--kills", "1", "--processes", "2")], ids=["one", "two"]
)
def test_a_run_killed_at_random_moments_ends_as_the_one_that_was_not(
    options: tuple[str, ...],
) -> None:
    done = Command("benchmarks.kill", *options, folder=ROOT).wait(timeout=400)
    assert done.returncode == 0, done
    assert "bit for bit" in done.stdout
