"""The choice of the validation images from the training images."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from contnet.data.randomness import keyed_generator

log = logging.getLogger(__name__)

MOST_NAMED = 5
"""Number of classes to name in a warning."""


def stratified_share(labels: Tensor, share: float, seed: int, classes: Sequence[str]) -> Tensor:
    """Return a mask (N,) of a random `share` of the images of every class.

    A warning names the classes that are too small for an image of their own in the share.

    Args:
        labels: int64 (N,).
        share: at least 0 and less than 1.
        seed: of the choice.
        classes: the names of the classes, in the order of the labels.

    Raises:
        ValueError: if the share rounds to no image, or to all images of a class.
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    generator = keyed_generator(seed)
    too_small: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        order = torch.randperm(len(members), generator=generator)
        n_chosen = round(share * len(members))
        sizes[classes[label]] = len(members)
        if n_chosen == len(members):
            raise ValueError(
                f"val_size must leave training images in every class, got {share}; "
                f"{classes[label]!r} has {_images(len(members))}"
            )
        if n_chosen == 0:
            too_small[classes[label]] = len(members)
        chosen[members[order[:n_chosen]]] = True
    if not chosen.any():
        largest = max(sizes, key=sizes.__getitem__)
        raise ValueError(
            f"val_size must be 0 or give a class a validation image, got {share}; the largest "
            f"class, {largest!r}, has {_images(sizes[largest])}"
        )
    if too_small:
        _warn_of_small_classes(share, too_small)
    return chosen


def _warn_of_small_classes(share: float, sizes: dict[str, int]) -> None:
    first = [f"{name!r} ({_images(size)})" for name, size in sizes.items()][:MOST_NAMED]
    more = f" and {len(sizes) - MOST_NAMED} more" if len(sizes) > MOST_NAMED else ""
    some = "1 class" if len(sizes) == 1 else f"{len(sizes)} classes"
    log.warning(
        f"dataset.val_size={share} leaves {some} without a validation image: "
        f"{', '.join(first)}{more}"
    )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
