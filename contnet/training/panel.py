"""Accuracies in several manifestations, during a pass over validation or test images."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from contnet.metrics import Score
from contnet.ode.depth_time import DepthTime
from contnet.ode.manifestation import Manifestation


class Panel(nn.Module):
    """Scores a network of `num_classes` classes in other manifestations than its present one."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self._num_classes = num_classes
        self._manifestations: dict[str, Manifestation] = {}
        self.scores = nn.ModuleDict()

    def begin(self, manifestations: Mapping[str, Manifestation], device: torch.device) -> None:
        """Begin a pass, with one score for each manifestation."""
        self._manifestations = dict(manifestations)
        scores = {name: Score(self._num_classes) for name in manifestations}
        self.scores = nn.ModuleDict(scores).to(device)

    def update(
        self,
        compute: Callable[[Tensor], Tensor],
        depth: DepthTime,
        images: Tensor,
        labels: Tensor,
        logits: Tensor,
    ) -> None:
        """Add a batch.

        Args:
            compute: maps images to logits (N, num_classes), in the present manifestation.
            depth: the depth-time of the network that it computes with.
            images, labels: the batch.
            logits: its logits in the present manifestation.
        """
        present = depth.manifestation
        for name, manifestation in self._manifestations.items():
            score: Any = self.scores[name]
            if manifestation == present:
                score.update(logits, labels)
                continue
            with depth.manifested(manifestation):
                score.update(compute(images), labels)

    @property
    def accuracies(self) -> dict[str, Any]:
        """The metric of the accuracy in each manifestation, by name."""
        scores: dict[str, Any] = dict(self.scores.items())
        return {name: score.accuracy for name, score in scores.items()}
