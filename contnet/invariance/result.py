"""The result of evaluating one variant of a network: a row of the table."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from contnet.invariance.outcome import Outcome
from contnet.metrics import Score
from contnet.ode.basis import Basis
from contnet.ode.manifestation import Manifestation


@dataclass(frozen=True)
class Figures:
    """The figures of one variant on the test images; accuracies are fractions.

    Args:
        n_f_evals: rate evaluations; None for a network without depth-time.
        n_accepted, n_rejected: steps that an embedded pair took and did not take; None for other
            schemes.
        loss: mean cross-entropy.
        accuracy: share of the images whose class is predicted.
        top5_accuracy: share of the images whose class is among the five largest logits.
        calibration_error: expected calibration error over 15 bins of equal width (Guo et al. 2017).
        same_prediction: share of the images that get the same class as in the variant as trained.
        logit_distance: distance of all logits to those of the variant as trained, relative to the
            norm of the latter.
        flops: floating-point operations of one image.
        latency_ms: milliseconds per image, in batches of `batch_size`.
        batch_size: images of a full batch.
        peak_memory_mb: megabytes on a GPU; None on other devices.
        measured: the time at which the run that measured the latency began; None if it is not
            known.
    """

    n_f_evals: int | None
    n_accepted: int | None
    n_rejected: int | None
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
    measured: str | None = None


@dataclass(frozen=True)
class Result:
    """One variant of a checkpoint's network, with its figures or the reason why it has none.

    Args:
        checkpoint: path of the checkpoint.
        manifestation: the scheme and the number of steps.
        trained: True for the variant as trained, with which the others are compared.
        seen: True if the network was trained in this manifestation, alone or as one of a set.
        recalibrated: True if batch norm has statistics of this manifestation.
        parameters: number of trainable parameters.
        basis: basis of theta(t); None without depth-time, or where the ODE blocks differ in it.
        projected: True if theta(t) was projected onto `basis`.
        figures: None if the evaluation failed.
        predictions: the predicted class of each test image, (N,); None if the evaluation failed.
        failed: the reason why the evaluation failed.
    """

    checkpoint: str
    manifestation: Manifestation
    trained: bool
    recalibrated: bool
    parameters: int
    basis: Basis | None = None
    projected: bool = False
    seen: bool = False
    figures: Figures | None = None
    predictions: Tensor | None = None
    failed: str | None = None

    def __str__(self) -> str:
        projected = f"{self.basis}; " if self.projected else ""
        return f"{projected}{self.manifestation}{', recalibrated' if self.recalibrated else ''}"

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations, 0 where they are unknown."""
        return (self.figures.n_f_evals if self.figures else None) or 0

    def row(self) -> dict[str, Any]:
        """Return the row of a table, in plain values; figures that do not exist are None."""
        return {
            "checkpoint": self.checkpoint,
            "scheme": self.manifestation.name,
            "n_time_steps": self.manifestation.n_time_steps,
            "rtol": self.manifestation.rtol,
            "trained": self.trained,
            "seen": self.seen,
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
    """Return the results that have figures, as pairs of a result and its figures."""
    return [(result, result.figures) for result in results if result.figures is not None]


def measure(result: Result, outcome: Outcome, reference: Outcome) -> Result:
    """Return `result` with the figures of an outcome; it has failed if a logit is not finite.

    Args:
        result: a result without figures.
        outcome: the logits and cost of its variant.
        reference: the outcome of the variant as trained, on the same images.
    """
    logits = torch.cat(outcome.logits)
    if not logits.isfinite().all():
        return replace(result, failed="the logits are not finite: the state diverges")
    figures = _figures(logits, outcome, torch.cat(reference.logits).to(logits))
    return replace(result, figures=figures, predictions=logits.argmax(dim=1).cpu())


def _figures(logits: Tensor, outcome: Outcome, trained_logits: Tensor) -> Figures:
    num_classes = logits.shape[1]
    score = _score(outcome, num_classes)
    top5 = multiclass_accuracy(
        logits, outcome.labels, num_classes, average="micro", top_k=min(5, num_classes)
    )
    calibration_error = multiclass_calibration_error(
        logits.float(), outcome.labels, num_classes, n_bins=15
    )
    same = logits.argmax(dim=1) == trained_logits.argmax(dim=1)
    distance = torch.linalg.vector_norm((logits - trained_logits).double())
    return Figures(
        n_f_evals=outcome.n_f_evals,
        n_accepted=outcome.n_accepted or None,
        n_rejected=outcome.n_rejected if outcome.n_accepted else None,
        loss=score.loss.compute().item(),
        accuracy=score.accuracy.compute().item(),
        top5_accuracy=top5.item(),
        calibration_error=calibration_error.item(),
        same_prediction=same.double().mean().item(),
        logit_distance=(distance / torch.linalg.vector_norm(trained_logits.double())).item(),
        flops=outcome.flops,
        latency_ms=1e3 * outcome.latency,
        batch_size=outcome.batch_size,
        peak_memory_mb=None if outcome.peak_memory is None else outcome.peak_memory / 1e6,
        measured=outcome.measured,
    )


def _score(outcome: Outcome, num_classes: int) -> Score:
    # Batch by batch, as in training, so that the figures agree to the last digit.
    score = Score(num_classes).to(outcome.labels.device)
    labels = outcome.labels.split(outcome.batch_size)
    for logits_of_batch, labels_of_batch in zip(outcome.logits, labels, strict=True):
        score.update(logits_of_batch, labels_of_batch)
    return score
