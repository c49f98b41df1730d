from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from contnet import ADAPTIVE_SCHEMES
from contnet.invariance.result import Result
from contnet.invariance.verdict import interval_of_largest, judge, judge_seen_and_unseen
from contnet.ode.manifestation import Manifestation
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


def test_a_network_trained_in_several_manifestations_is_judged_in_them_and_in_all_others() -> None:
    labels = torch.zeros(100, dtype=torch.long)

    def variant(scheme: str, n: int, n_wrong: int | None, *, seen: bool) -> Result:
        predictions = None if n_wrong is None else (torch.arange(100) < n_wrong).long()
        return replace(result(scheme, n, predictions), seen=seen)

    trained = variant("midpoint", 2, 10, seen=True)
    coarser, finer = variant("euler", 1, 13, seen=True), variant("midpoint", 4, 11, seen=True)
    unseen = [variant("euler", 2, 40, seen=False), variant("rk4", 4, 9, seen=False)]
    inside, outside = judge_seen_and_unseen(trained, [trained, coarser, finer, *unseen], labels, 5)
    assert (inside.invariant, inside.n_compared, inside.worst) == (True, 2, "euler, 1 step")
    assert inside.loss == pytest.approx(3)
    assert (outside.invariant, outside.n_compared, outside.worst) == (False, 2, "euler, 2 steps")
    assert outside.loss == pytest.approx(30)
    for verdict, lost in ((inside, [coarser, finer]), (outside, unseen)):
        wrong = np.stack([(one.predictions != labels).double().numpy() for one in lost])
        as_trained = (trained.predictions != labels).double().numpy()
        assert verdict.interval == interval_of_largest(100 * (wrong - as_trained))

    failed = variant("euler", 4, None, seen=True)
    inside, outside = judge_seen_and_unseen(trained, [trained, failed], labels, 5)
    assert (inside.invariant, inside.loss) == (False, pytest.approx(90))
    assert str(outside) == (
        "no verdict: nothing unseen in training was evaluated; "
        "add more steps or other schemes to the sweep"
    )


def coverage(losses: tuple[float, ...], seed: int, agreement: float = 0.95) -> float:
    """Return how often the interval holds the largest of known losses, in percentage points.

    400 images are drawn 200 times. Variants agree on most of them, as manifestations do.
    """
    generator = np.random.default_rng(seed)
    worse = np.array(losses)[:, None] / 100

    def draw() -> np.ndarray:
        common = generator.random(400) < agreement  # the others are drawn for each variant alone
        luck = np.where(common, generator.random(400), generator.random((len(losses), 400)))
        return 100.0 * (luck < 0.03 + worse) - 100.0 * (luck > 0.97)

    intervals = [interval_of_largest(draw()) for _ in range(200)]
    return float(np.mean([low <= max(losses) <= high for low, high in intervals]))


@pytest.mark.long
def test_the_interval_covers_the_largest_loss_as_often_as_it_says() -> None:
    studies = [(6.0,), (2.0,) * 4, (0.0,) * 4, (6.0, 1.0, 1.0, 0.0), (6.0, 5.0, 4.0, 3.0)]
    covered = [coverage(losses, seed) for seed, losses in enumerate(studies, start=1)]
    # Where variants are equally bad, it is 96.2 %: the true loss never exceeds the upper end.
    assert min(covered) >= 0.92
    assert 0.92 <= np.mean(covered) <= 0.98


def test_the_interval_knows_that_the_worst_was_chosen_among_many() -> None:
    """Twenty variants lose nothing. The luckless one seems to lose something, and does not."""
    generator = np.random.default_rng(2)
    intervals = []
    for _ in range(40):
        luck = generator.random((20, 400))
        intervals.append(interval_of_largest(100.0 * (luck < 0.05) - 100.0 * (luck > 0.95)))
    assert np.mean([low > 0 for low, _ in intervals]) <= 0.075


def test_the_interval_is_not_wider_than_it_says_where_all_variants_are_equally_bad() -> None:
    assert 0.92 <= coverage((5.0,) * 8, seed=1, agreement=0.5) <= 0.98


@pytest.mark.parametrize(("scheme", "n_compared"), [("dopri5", 1), ("bosh3", 1), ("fehlberg2", 0)])
def test_an_adaptive_scheme_that_failed_is_as_fine_as_its_order_says(
    scheme: str, n_compared: int
) -> None:
    """Its rate evaluations are unknown. Without it, a network would seem to be invariant."""
    labels = torch.zeros(10, dtype=torch.long)
    trained = result("heun3", 1, labels)
    failed = replace(
        result("euler", None, None),
        manifestation=Manifestation(ADAPTIVE_SCHEMES[scheme]),
        failed="the state is not finite",
    )
    verdict = judge(trained, [trained, failed], labels, tolerance=1)
    assert verdict.n_compared == n_compared
    assert verdict.loss == (100 if n_compared else None)


def test_the_training_row_alone_is_no_verdict_with_other_statistics_either() -> None:
    labels = torch.zeros(100, dtype=torch.long)
    trained = result("euler", 2, labels)
    recalibrated = replace(result("euler", 2, labels + 1), recalibrated=True, seen=True)
    alone = judge(trained, [recalibrated], labels, tolerance=1)
    assert (alone.invariant, alone.interval, alone.n_compared) == (None, None, 0)
    assert str(alone).startswith("no verdict: nothing at least as fine")
    seen, unseen = judge_seen_and_unseen(trained, [recalibrated], labels, tolerance=1)
    assert (seen.invariant, unseen.invariant) == (None, None)
    finer = replace(result("euler", 4, labels), recalibrated=True)
    assert judge(trained, [recalibrated, finer], labels, tolerance=1).loss == 100
