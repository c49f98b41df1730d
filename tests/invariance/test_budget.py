from dataclasses import replace

import pytest
import torch

from contnet.invariance.budget import Budget
from tests.invariance.results import result


def test_a_budget_chooses_the_cheapest_within_a_loss_and_the_best_within_a_latency() -> None:
    one = torch.zeros(1)
    options = [
        result("rk4", 2, one, latency_ms=4.0, accuracy=0.90),
        result("euler", 2, one, latency_ms=1.0, accuracy=0.894),
        result("euler", 1, one, latency_ms=0.5, accuracy=0.50),
        result("midpoint", 2, one, latency_ms=2.0, accuracy=0.90),
        result("rk4", 1, None),
    ]
    smaller = replace(result("heun2", 2, one, latency_ms=3.9, accuracy=0.7), parameters=40)
    options = [*(replace(option, parameters=100) for option in options), smaller]

    def chosen(*conditions: str) -> str | None:
        choice = Budget.parse(conditions).choose(options[0], options)
        return None if choice is None else str(choice[0])

    assert chosen("accuracy>=-0.5pp") == "midpoint, 2 steps"
    assert chosen("accuracy >= -0.6pp") == "euler, 2 steps"
    assert chosen("latency<=0.5x") == "midpoint, 2 steps"
    assert chosen("latency<=0.3x") == "euler, 2 steps"
    assert chosen("latency<=0.3x", "accuracy>=-0.5pp") is None
    assert chosen("accuracy>=+1pp") is None
    assert chosen("parameters<=0.4x") == "heun2, 2 steps"
    assert chosen("parameters<=0.3x") is None
    assert chosen("parameters<=1x", "accuracy>=-0.5pp") == "midpoint, 2 steps"
    assert chosen("parameters<=0.5x", "latency<=0.5x") is None


@pytest.mark.parametrize(
    "condition", ["latency<0.5x", "latency<=0.5", "accuracy>=1", "speed>=2x", "", "latency<=-1x"]
)
def test_a_budget_that_says_nothing_is_refused(condition: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"budget must be like latency<=0\.5x, parameters<=0\.5x or accuracy>=-0\.5",
    ):
        Budget.parse([condition])
