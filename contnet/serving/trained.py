"""A trained network that takes images, and not normalised tensors."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from contnet import arguments
from contnet.data.preprocessing import Preprocessing
from contnet.ode import statistics
from contnet.ode.depth_time import DepthTime, depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import AdaptiveScheme, Scheme
from contnet.serving.blueprint import Blueprint


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of N images.

    Args:
        classes: the name of the most probable class of each image.
        labels: the number of that class, int64 (N,).
        probabilities: of every class, (N, number of classes), in float32.
    """

    classes: list[str]
    labels: Tensor
    probabilities: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        """Yield the class of each image and its probability."""
        best = self.probabilities.amax(dim=1).tolist()
        return iter(zip(self.classes, best, strict=True))


class TrainedNetwork(nn.Module):
    """A trained network with the preprocessing of its images and the names of its classes.

    Args:
        network: normalised images (N, C, H, W) -> logits (N, number of classes).
        blueprint: what the network is made from.
    """

    def __init__(self, network: nn.Module, blueprint: Blueprint) -> None:
        super().__init__()
        self.network = network
        self.normalise = blueprint.preprocessing.normalise(channels_last=blueprint.channels_last)
        self._blueprint = blueprint
        weight = next(network.parameters(), None)
        if weight is not None:
            self.normalise.to(weight.dtype)
        self.eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self._blueprint.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """The shape of the images, and their normalisation."""
        return self._blueprint.preprocessing

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.normalise.mean.device

    def forward(self, images: Any) -> Tensor:
        """Return the logits (N, number of classes) of images: see `Preprocessing.batch`.

        Raises:
            TypeError: if an image is of a type that is not known.
            ValueError: if an image cannot be read, or has another shape.
        """
        pixels = self.preprocessing.batch(images).to(self.device)
        logits: Tensor = self.network(self.normalise(pixels))
        return logits

    def predict(self, images: Any, batch_size: int = 256) -> Prediction:
        """Return the classes and probabilities of images: see `Preprocessing.batch`.

        Args:
            images: one image, or any number of them.
            batch_size: the number of images that the network computes at a time.

        Raises:
            TypeError, ValueError: as for a call of the network; also in training mode, in which
                statistics of the batch would be used, and change the network.
        """
        arguments.integer("batch_size", batch_size, minimum=1)
        pixels = self.preprocessing.batch(images)
        if any(module.training for module in self.modules()):
            raise ValueError("predict needs the network in evaluation mode; call eval() first")
        with torch.inference_mode():
            parts = [self(part).float().softmax(dim=1).cpu() for part in pixels.split(batch_size)]
        probabilities = torch.cat(parts)
        labels = probabilities.argmax(dim=1)
        return Prediction([self.classes[i] for i in labels.tolist()], labels, probabilities)

    @property
    def manifestation(self) -> Manifestation | None:
        """Scheme and number of steps; None without ODE blocks, and where they differ in it."""
        depth = self._depth
        return None if depth is None else depth.manifestation

    @property
    def manifestations(self) -> tuple[Manifestation, ...]:
        """The manifestations that the network was trained in, if there are several."""
        return statistics.provided(self.network)

    def set_manifestation(
        self,
        scheme: str | Scheme | AdaptiveScheme | None = None,
        n_time_steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> None:
        """Compute the same network by another graph: see `ODEBlock.set_manifestation`.

        Raises:
            ValueError: if the network has no ODE blocks, or a setting is not allowed.
        """
        depth = self._depth
        if depth is None:
            raise ValueError("the network has no ODE blocks, and one manifestation alone")
        depth.set_manifestation(scheme, n_time_steps, rtol, atol)

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations of the last forward pass, over all ODE blocks."""
        depth = self._depth
        return 0 if depth is None else depth.n_f_evals

    @property
    def blueprint(self) -> Blueprint:
        """What the network is made from, in its present manifestation."""
        depth = self._depth
        if depth is None:
            return self._blueprint
        schemes = tuple(block.scheme for block in depth.blocks)
        return replace(self._blueprint, depth=depth.depths, schemes=schemes)

    def save(self, path: str | PathLike[str]) -> None:
        """Save the network, its preprocessing and its classes in one file of safetensors.

        `contnet.load` reads it back, bit for bit, and in the present manifestation.

        Raises:
            ValueError: if the name does not end with .safetensors, there is no such folder, or a
                scheme of your own, which no name stands for, computes the network.
        """
        from contnet.serving.weights_file import save  # imports safetensors

        save(Path(path), self.network, self.blueprint)

    @property
    def _depth(self) -> DepthTime | None:
        return depth_time(self.network)
