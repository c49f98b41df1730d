"""Sums of metrics: they continue from a checkpoint, and parameters are counted once."""

import pytest
import torch
from torch import nn

from contnet.metrics import Score, n_parameters


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (7,), generator=generator)
    return torch.randn(7, 3, generator=generator), labels


def test_a_score_resumes_from_gathered_sums_to_the_last_bit() -> None:
    through, begun, resumed = Score(3), Score(3), Score(3)
    for seed in range(2):
        through.update(*batch(seed))
        begun.update(*batch(seed))
    (own,) = sums = begun.gathered()
    assert own["loss"]["n_images"].item() == 14
    resumed.update(*batch(5))  # which the resumed sums replace
    resumed.resume(sums)
    for score in (through, resumed):
        score.update(*batch(2))
    assert torch.equal(resumed.loss.compute(), through.loss.compute())
    assert torch.equal(resumed.accuracy.compute(), through.accuracy.compute())


def test_a_process_that_the_earlier_run_did_not_have_starts_at_zero() -> None:
    score = Score(3)
    score.resume([])
    logits, labels = batch(0)
    score.update(logits, labels)
    assert score.loss.compute() == nn.functional.cross_entropy(logits, labels)


def test_the_mean_loss_is_weighted_by_images_and_keeps_nan() -> None:
    score = Score(3)
    score.loss.update(torch.tensor(1.0), 1)
    score.loss.update(torch.tensor(2.0), 3)
    assert score.loss.compute().item() == pytest.approx(1.75)
    score.loss.update(torch.tensor(float("nan")), 1)
    assert score.loss.compute().isnan()


def test_shared_parameters_count_once() -> None:
    linear = nn.Linear(4, 3)
    assert n_parameters(nn.Sequential(linear, linear)) == 4 * 3 + 3
