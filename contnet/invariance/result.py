"""What there is to say of a manifestation: a row of the table."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from contnet.invariance.manifestation import Manifestation
from contnet.invariance.outcome import Outcome
from contnet.metrics import Score
from contnet.ode.basis import Basis


@dataclass(frozen=True)
class Figures:
    """How a manifestation does on the test images, accuracies as fractions.

    `calibration_error` is the expected one, over 15 bins of equal width (Guo et al. 2017). `same_prediction` is the
    share of images that get the class which the training manifestation gives them, `logit_distance` the distance of all
    logits to that one's, relative to their norm. `flops` are of one image, `latency_ms` milliseconds per image in
    batches of `batch_size`.
    """

    n_f_evals: int | None
    loss: float
    accuracy: float
    top5_accuracy: float
    calibration_error: float
    same_prediction: float
    logit_distance: float
    flops: float
    latency_ms: float
    batch_size: int
    peak_memory_mb: float | None


@dataclass(frozen=True)
class Result:
    """A manifestation of a checkpoint's network, with batch-norm statistics of its own where `recalibrated`, and with
    theta(t) projected onto `basis` where that is not the network's own.

    It has figures, and the class predicted for each test image (N,), unless it has `failed`, which says why.
    """

    checkpoint: str
    manifestation: Manifestation
    trained: bool
    recalibrated: bool
    parameters: int
    basis: Basis | None = None
    projected: bool = False
    figures: Figures | None = None
    predictions: Tensor | None = None
    failed: str | None = None

    def __str__(self) -> str:
        projected = f"{self.basis}; " if self.projected else ""
        return f"{projected}{self.manifestation}{', recalibrated' if self.recalibrated else ''}"

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations, 0 where there is no telling."""
        return (self.figures.n_f_evals if self.figures else None) or 0

    def row(self) -> dict[str, Any]:
        """For a table: plain values, None where there is none."""
        return {
            "checkpoint": self.checkpoint,
            "scheme": self.manifestation.name,
            "n_time_steps": self.manifestation.n_time_steps,
            "rtol": self.manifestation.rtol,
            "trained": self.trained,
            "recalibrated": self.recalibrated,
            "basis": self.basis and self.basis.name,
            "n_basis": self.basis and self.basis.n_basis,
            "parameters": self.parameters,
            **(
                asdict(self.figures)
                if self.figures
                else dict.fromkeys(field.name for field in fields(Figures))
            ),
            "failed": self.failed,
        }


def measured(results: Iterable[Result]) -> list[tuple[Result, Figures]]:
    """Those that have figures."""
    return [(result, result.figures) for result in results if result.figures is not None]


def measure(result: Result, outcome: Outcome, reference: Outcome) -> Result:
    """`result` with the figures of its outcome beside the training manifestation's."""
    logits, labels = torch.cat(outcome.logits), outcome.labels
    if not logits.isfinite().all():
        return replace(result, failed="the state grew beyond all bounds: its logits are not finite")
    num_classes = logits.shape[1]
    # Batch by batch, as training does it: the same sums in the same order give the same last digit.
    score = Score(num_classes).to(labels.device)
    for batch, its_labels in zip(outcome.logits, labels.split(outcome.batch_size), strict=True):
        score.update(batch, its_labels)
    trained_logits = torch.cat(reference.logits).to(logits)
    predictions = logits.argmax(dim=1)
    distance = torch.linalg.vector_norm((logits - trained_logits).double())
    top5 = multiclass_accuracy(
        logits, labels, num_classes, average="micro", top_k=min(5, num_classes)
    )
    figures = Figures(
        n_f_evals=outcome.n_f_evals,
        loss=score.loss.compute().item(),
        accuracy=score.accuracy.compute().item(),
        top5_accuracy=top5.item(),
        calibration_error=multiclass_calibration_error(
            logits.float(), labels, num_classes, n_bins=15
        ).item(),
        same_prediction=(predictions == trained_logits.argmax(dim=1)).double().mean().item(),
        logit_distance=(distance / torch.linalg.vector_norm(trained_logits.double())).item(),
        flops=outcome.flops,
        latency_ms=1e3 * outcome.latency,
        batch_size=outcome.batch_size,
        peak_memory_mb=None if outcome.peak_memory is None else outcome.peak_memory / 1e6,
    )
    return replace(result, figures=figures, predictions=predictions.cpu())
