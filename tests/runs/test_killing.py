import random

import pytest

from tests.drivers.kill import kill


@pytest.mark.long
@pytest.mark.parametrize(
    ("n_kills", "n_processes"),
    [(3, 1), pytest.param(1, 2, marks=pytest.mark.long)],
    ids=["one", "two"],
)
def test_a_run_killed_at_random_moments_ends_as_the_one_that_was_not(
    n_kills: int, n_processes: int
) -> None:
    random.seed(0)
    kill(n_kills, n_processes)
