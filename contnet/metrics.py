"""Figures of a network: its loss and accuracy on images, and its number of parameters."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torchmetrics import Accuracy, Metric

from contnet.processes import rank_and_world_size


def n_parameters(module: nn.Module) -> int:
    """Return the number of scalar parameters in a module."""
    return sum(parameter.numel() for parameter in module.parameters())


class MeanLoss(Metric):
    """The mean over images of a loss that is computed batch by batch.

    `torchmetrics.MeanMetric` checks each batch for NaN, which makes the program wait for the GPU.
    Here a NaN stays in the sum.
    """

    full_state_update = False  # sums can be merged
    total: Tensor
    n_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("n_images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, mean: Tensor, n_images: int) -> None:
        """Add a batch: `mean` is the mean loss over its `n_images` images."""
        self.total += mean * n_images
        self.n_images += n_images

    def compute(self) -> Tensor:
        """Return the mean over all images."""
        return self.total / self.n_images


class Score(nn.Module):
    """Mean cross-entropy and accuracy over the images seen since the last reset."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss = MeanLoss()
        self.accuracy = Accuracy(task="multiclass", num_classes=num_classes)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (N, num_classes) and labels (N,)."""
        logits = logits.detach()
        self.loss.update(nn.functional.cross_entropy(logits, labels), len(labels))
        self.accuracy.update(logits, labels)

    def gathered(self) -> list[dict[str, Any]]:
        """Return the sums of all processes so far, ordered by rank, on the CPU."""
        metrics: dict[str, Any] = {"loss": self.loss, "accuracy": self.accuracy}
        own = {
            name: {key: value.cpu() for key, value in metric.metric_state.items()}
            for name, metric in metrics.items()
        }
        _, world_size = rank_and_world_size()
        if world_size == 1:
            return [own]
        everyone: list[Any] = [None] * world_size
        distributed.all_gather_object(everyone, own)
        return everyone

    def resume(self, sums: list[dict[str, Any]]) -> None:
        """Continue from the sums that `gathered` returned.

        Each process continues from its own. A process that the earlier run did not have starts at
        zero.
        """
        rank, _ = rank_and_world_size()
        for name, state in (sums[rank] if rank < len(sums) else {}).items():
            metric = getattr(self, name)
            metric.reset()
            metric.merge_state({key: value.to(metric.device) for key, value in state.items()})
