"""A rate of ODE blocks: a convolution whose channels are weighted by what all of them show."""

from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """(N, channels, H, W) -> the same shape (after Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.convolution = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.weights = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        weighted: Tensor = x * self.weights(x)
        return weighted
