"""Subjects, outcomes and results that are made up."""

from typing import Any

import torch
from torch import Tensor, nn

from contnet import SCHEMES
from contnet.invariance.outcome import Batches, Outcome
from contnet.invariance.result import Figures, Result
from contnet.invariance.subject import Conditions, Subject
from contnet.ode.manifestation import Manifestation

EULER_2 = Manifestation(SCHEMES["euler"], 2)


def batches(images: Tensor, labels: Tensor, size: int) -> Batches:
    pairs = list(zip(images.split(size), labels.split(size), strict=True))
    return Batches(pairs, nn.Identity(), torch.device("cpu"))


def outcome_of(logits: Tensor, labels: Tensor) -> Outcome:
    return Outcome(tuple(logits.split(4)), labels, 6, 0, 0, 1e6, 1e-3, 4, None)


def result(
    scheme: str, n: int | None, predictions: Tensor | None, n_f_evals: int = 6, **figures: float
) -> Result:
    known: dict[str, Any] = (
        dict.fromkeys(Figures.__dataclass_fields__, 0.0)
        | {"n_f_evals": n_f_evals, "n_accepted": None, "n_rejected": None, "measured": None}
        | figures
    )
    manifestation = Manifestation(SCHEMES[scheme], n)
    filled = None if predictions is None else Figures(**known)
    return Result("a.ckpt", manifestation, False, False, 1, figures=filled, predictions=predictions)


def subject(network: nn.Module, identity: str = "") -> Subject:
    """Return a network with 20 random images of 8 x 8 pixels in 10 classes."""
    images, labels = torch.randn(20, 3, 8, 8), torch.arange(20) % 10
    conditions = Conditions(
        batches(images, labels, 8),
        sample=images[:2],
        training_images=lambda: [images],
        precision=lambda: torch.autocast("cpu", enabled=False),
    )
    return Subject("a.ckpt", network.eval(), [str(i) for i in range(10)], conditions, identity)
