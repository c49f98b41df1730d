"""Subjects, outcomes and results that are made up."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from contnet import SCHEMES, ContinuousNet
from contnet.invariance.convergence import Convergence
from contnet.invariance.outcome import Batches, Outcome
from contnet.invariance.result import Figures, Result
from contnet.invariance.study import Study
from contnet.invariance.subject import Conditions, Subject
from contnet.invariance.verdict import Verdict
from contnet.ode import statistics
from contnet.ode.depth_time import depth_time
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


def study_of(
    name: str,
    results: Sequence[Result],
    seen: Sequence[Manifestation] = (),
    convergence: Sequence[Convergence] = (),
    n_classes: int = 10,
) -> Study:
    """Return the study of a network with these results, the first of which is as trained."""
    trained = replace(results[0], trained=True)
    network = ContinuousNet(alpha=1, initial_time_d=1)
    depth = depth_time(network)
    assert depth is not None
    depth.set_manifestation(trained.manifestation.scheme, trained.manifestation.n_time_steps)
    statistics.provide(network, seen)
    about = replace(subject(network), run=name, classes=[f"class {i}" for i in range(n_classes)])
    worst = results[len(results) // 2]
    verdict = Verdict(False, len(results) - 1, worst=str(worst), loss=2.0, interval=(1.0, 3.5))
    return Study(
        about,
        trained,
        [trained, *results[1:]],
        verdict=verdict,
        unseen_verdict=None,
        recalibrated_verdict=None,
        recalibrated_unseen_verdict=None,
        convergence=convergence,
        class_accuracy=torch.rand(len(results), n_classes),
        tolerance=1.0,
        n_images=20,
        chance=0.2,
    )


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
