"""How well logits fit labels."""

from torch import Tensor, nn
from torchmetrics import Accuracy, MeanMetric


class Score(nn.Module):
    """Mean cross-entropy and accuracy over the images seen since the last reset."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.accuracy = Accuracy(task="multiclass", num_classes=num_classes)

    def update(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Count a batch in; returns its mean cross-entropy."""
        loss = nn.functional.cross_entropy(logits, labels)
        self.loss.update(loss.detach(), weight=len(labels))
        self.accuracy.update(logits.detach(), labels)
        return loss
