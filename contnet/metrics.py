"""How well logits fit labels."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torchmetrics import Accuracy, Metric


class MeanLoss(Metric):
    """The mean over images of a loss that is given batch by batch.

    torchmetrics' own mean looks for NaN in each batch, and a GPU would have to be waited for; here NaN stays NaN.
    """

    total: Tensor
    n_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("n_images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, mean: Tensor, n_images: int) -> None:
        """Count in a batch of `n_images`, over which the loss has this mean."""
        self.total += mean * n_images
        self.n_images += n_images

    def compute(self) -> Tensor:
        """The mean over all images."""
        return self.total / self.n_images


class Score(nn.Module):
    """Mean cross-entropy and accuracy over the images seen since the last reset."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss = MeanLoss()
        self.accuracy = Accuracy(task="multiclass", num_classes=num_classes)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch in."""
        logits = logits.detach()
        self.loss.update(nn.functional.cross_entropy(logits, labels), len(labels))
        self.accuracy.update(logits, labels)

    def gathered(self) -> list[dict[str, Any]]:
        """What each process has counted so far, in the order of their ranks, to go on with from there."""
        own = {name: getattr(self, name).metric_state for name in ("loss", "accuracy")}
        own = {
            name: {key: value.cpu() for key, value in state.items()} for name, state in own.items()
        }
        if not (distributed.is_available() and distributed.is_initialized()):
            return [own]
        everyone: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(everyone, own)
        return everyone

    def resume(self, sums: list[dict[str, Any]], rank: int) -> None:
        """Go on counting from what `gathered` returned."""
        for name, state in (sums[rank] if rank < len(sums) else {}).items():
            metric = getattr(self, name)
            for key, value in state.items():
                setattr(metric, key, value.to(metric.device))
            metric._update_count = 1  # else it warns that it has counted nothing
