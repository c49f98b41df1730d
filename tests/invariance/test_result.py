import pytest
import torch
from torch import nn

from contnet.invariance.result import Result, measure
from tests.invariance.results import EULER_2, outcome_of


def test_the_figures_of_logits_are_those_counted_by_hand() -> None:
    logits, labels = torch.randn(10, 8), torch.randint(8, (10,))
    reference = logits + 0.5 * torch.randn(10, 8)
    blank = Result("a.ckpt", EULER_2, trained=False, recalibrated=False, parameters=1)
    measured = measure(blank, outcome_of(logits, labels), outcome_of(reference, labels))
    figures = measured.figures
    assert figures is not None
    assert figures.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    ranks = (logits > logits.gather(1, labels[:, None])).sum(1)
    assert figures.top5_accuracy == pytest.approx((ranks < 5).float().mean().item())
    assert figures.loss == pytest.approx(
        nn.functional.cross_entropy(logits, labels).item(), rel=1e-6
    )
    assert figures.same_prediction == pytest.approx(
        (logits.argmax(1) == reference.argmax(1)).float().mean().item()
    )
    assert figures.logit_distance == pytest.approx(
        ((logits - reference).norm() / reference.norm()).item(), rel=1e-6
    )
    confidence, predicted = logits.softmax(1).max(1)
    bins = (confidence * 15).long()
    gaps = [
        (confidence - (predicted == labels).float())[bins == i].sum().abs() / 10 for i in range(15)
    ]
    assert figures.calibration_error == pytest.approx(sum(gaps).item(), rel=1e-5)
    assert figures.latency_ms == 1
    assert measured.predictions is not None
    assert torch.equal(measured.predictions, logits.argmax(1))


def test_logits_that_are_not_finite_are_a_failure_and_no_figures() -> None:
    logits, labels = torch.full((4, 3), torch.nan), torch.zeros(4, dtype=torch.long)
    blank = Result("a.ckpt", EULER_2, trained=False, recalibrated=False, parameters=1)
    measured = measure(blank, outcome_of(logits, labels), outcome_of(torch.zeros(4, 3), labels))
    assert measured.failed == "the logits are not finite: the state diverges"
    assert measured.row()["accuracy"] is None
