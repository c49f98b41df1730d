import numpy as np
import pytest
import torch
from torch import Tensor

from contnet.invariance.verdict import bootstrap_interval, judge
from tests.invariance.results import result


def test_the_verdict_is_the_largest_loss_among_finer_manifestations() -> None:
    labels = torch.zeros(1000, dtype=torch.long)

    def predictions(n_wrong: int) -> Tensor:
        return (torch.arange(1000) < n_wrong).long()

    trained = result("midpoint", 2, predictions(100))
    coarser = [result("midpoint", 1, predictions(900)), result("euler", 8, predictions(800))]
    finer = [result("midpoint", 4, predictions(104)), result("rk4", 2, predictions(151))]
    verdict = judge(trained, [trained, *coarser, *finer], labels, tolerance=1)
    assert (verdict.invariant, verdict.n_compared, verdict.worst) == (False, 2, "rk4, 2 steps")
    assert verdict.loss == pytest.approx(5.1)
    assert verdict.interval is not None
    low, high = verdict.interval
    deviation = 100 * (0.051 * (1 - 0.051) / 1000) ** 0.5
    assert (low, high) == (
        pytest.approx(5.1 - 1.96 * deviation, abs=0.2),
        pytest.approx(5.1 + 1.96 * deviation, abs=0.2),
    )
    assert (
        str(verdict)
        == f"not invariant: loses 5.1 pp at rk4, 2 steps (95 % interval {low:.1f} to {high:.1f})"
    )

    verdict = judge(trained, [trained, *coarser, finer[0]], labels, tolerance=1)
    assert str(verdict).startswith("invariant within 0.4 pp (95 % interval ")
    assert judge(trained, [trained, *coarser], labels, tolerance=1).invariant is None
    verdict = judge(trained, [trained, result("rk4", 4, None)], labels, tolerance=1)
    assert (verdict.invariant, verdict.loss) == (False, pytest.approx(90))


def test_a_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    samples = [
        generator.choice([-100.0, 0.0, 100.0], size=400, p=[0.02, 0.9, 0.08]) for _ in range(400)
    ]
    covered = [low <= 6.0 <= high for low, high in map(bootstrap_interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
