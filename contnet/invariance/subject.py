"""The subject of a study: a trained network, and the conditions under which it is evaluated."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor, nn

from contnet.invariance.outcome import Batches


@dataclass(frozen=True)
class Conditions:
    """The images and the arithmetic of an evaluation, on the device of the network.

    Args:
        test: the labelled images to evaluate on.
        sample: some of these images, (n, C, H, W), normalised, for the convergence of the blocks.
        training_images: starts a pass through augmented and normalised training images, in batches
            (N, C, H, W), to recalibrate batch norm with.
        precision: opens a context of the arithmetic that the network was trained in.
    """

    test: Batches
    sample: Tensor
    training_images: Callable[[], Iterable[Tensor]]
    precision: Callable[[], AbstractContextManager]


@dataclass(frozen=True)
class Subject:
    """A trained network on its device.

    Args:
        name: path of its checkpoint.
        network: the network, in evaluation mode and in the manifestation that it was trained in.
        classes: names of the classes.
        conditions: the images and the arithmetic to evaluate it with.
        identity: a digest of everything that the outcome of an evaluation depends on, except the
            variant.
        run: a short name of its run, for headings; the name, if it is not given.
        machine: the machine that evaluates it; None if it is not known.
        test_digest: a digest of the test images; None if it is not known.
    """

    name: str
    network: nn.Module
    classes: Sequence[str]
    conditions: Conditions
    identity: str
    run: str = ""
    machine: str | None = None
    test_digest: str | None = None

    @property
    def title(self) -> str:
        """Name it in a heading."""
        return self.run or self.name
