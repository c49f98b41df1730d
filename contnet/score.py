"""How well logits fit labels."""

from torch import Tensor, nn
from torchmetrics import Accuracy, MeanMetric


class Score(nn.Module):
    """Mean cross-entropy and accuracy over the images seen since the last reset."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.accuracy = Accuracy(task="multiclass", num_classes=num_classes)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch in."""
        logits = logits.detach()
        self.loss.update(nn.functional.cross_entropy(logits, labels), weight=len(labels))
        self.accuracy.update(logits, labels)
