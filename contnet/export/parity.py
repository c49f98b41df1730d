"""The comparison of a file, computed by its own runtime, with contnet."""

from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from contnet.export.model import Runtime

TOLERANCE = 1e-4
"""The largest difference of a logit in float32, relative to the largest logit, or to 1."""

BATCH = 64
"""Images in a large batch."""

SECONDS = 0.2
"""Time to measure for, within these numbers of batches."""

LEAST, MOST = 5, 50


@dataclass(frozen=True)
class Sample:
    """The images of a comparison.

    Args:
        images: (N, C, H, W), as the network takes them.
        labels: int64 (N,), or None where they are not known.
        source: what the images are, in words.
        calibration: images for int8; None where there are none.
    """

    images: Tensor
    labels: Tensor | None
    source: str
    calibration: Tensor | None = None


@dataclass(frozen=True)
class Parity:
    """How near a file is to contnet, and how fast.

    Args:
        difference: the largest absolute difference of a logit.
        relative_difference: the same, relative to the largest absolute logit, or to 1.
        equal_classes: the share of the images that get the same class.
        accuracy, contnet_accuracy: of the file, and of contnet in float32; None without labels.
        ms_single, ms_batch: the median of the milliseconds an image, alone and in a batch of 64.
    """

    difference: float
    relative_difference: float
    equal_classes: float
    accuracy: float | None
    contnet_accuracy: float | None
    ms_single: float
    ms_batch: float

    @property
    def is_equal(self) -> bool:
        """True if the difference is one of rounding; False also if a logit is not finite."""
        return self.relative_difference <= TOLERANCE


@torch.inference_mode()
def compare(runtime: Runtime, reference: Runtime, sample: Sample) -> Parity:
    """Compute the images of a sample by a file's runtime and by contnet, and compare them."""
    found, expected = (_logits(one, sample.images) for one in (runtime, reference))
    difference = float((found - expected).abs().max())
    classes, expected_classes = found.argmax(dim=1), expected.argmax(dim=1)
    return Parity(
        difference=difference,
        relative_difference=difference / max(1.0, float(expected.abs().max())),
        equal_classes=_share(classes, expected_classes),
        accuracy=_accuracy(classes, sample.labels),
        contnet_accuracy=_accuracy(expected_classes, sample.labels),
        ms_single=_milliseconds(runtime, sample.images[:1]),
        ms_batch=_milliseconds(runtime, _batch(sample.images)) / BATCH,
    )


def _logits(runtime: Runtime, images: Tensor) -> Tensor:
    return torch.cat([runtime(batch).clone() for batch in images.split(BATCH)])


def _share(a: Tensor, b: Tensor) -> float:
    return float((a == b).float().mean())


def _accuracy(classes: Tensor, labels: Tensor | None) -> float | None:
    return None if labels is None else _share(classes, labels)


def _batch(images: Tensor) -> Tensor:
    """Return as many images as a large batch has, repeated where there are fewer."""
    return images[torch.arange(BATCH) % len(images)]


def _milliseconds(runtime: Runtime, images: Tensor) -> float:
    """Return the median time of a batch, after one that is not counted."""
    runtime(images)
    times: list[float] = []
    while len(times) < LEAST or (len(times) < MOST and sum(times) < SECONDS):
        start = perf_counter()
        runtime(images)
        times.append(perf_counter() - start)
    return 1000 * median(times)
