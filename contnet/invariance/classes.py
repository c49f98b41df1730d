"""The accuracy of each class: which classes pay for a manifestation, and what chance reaches."""

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from contnet.invariance.result import Result


def class_accuracy(results: Sequence[Result], labels: Tensor, n_classes: int) -> Tensor:
    """Return the accuracy of each result on each class, (len(results), n_classes).

    It is NaN for a result that failed, and for a class without images.

    Args:
        results: results on the same images.
        labels: the labels (N,) of these images.
        n_classes: number of classes.
    """
    return torch.stack([_class_accuracy(result, labels, n_classes) for result in results])


def chance_level(labels: Tensor) -> float:
    """Return the largest accuracy that chance explains: see below.

    It is the share of the most frequent class, which a constant answer reaches, and two standard
    errors of this share.

    Args:
        labels: the labels (N,) of the test images.
    """
    share = (torch.bincount(labels).max() / len(labels)).item()
    return share + 2 * sqrt(share * (1 - share) / len(labels))


def _class_accuracy(result: Result, labels: Tensor, n_classes: int) -> Tensor:
    if result.predictions is None:
        return torch.full((n_classes,), torch.nan)
    right = torch.bincount(labels[result.predictions == labels], minlength=n_classes)
    return right / torch.bincount(labels, minlength=n_classes)
