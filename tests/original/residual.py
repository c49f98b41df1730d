"""ResNet and WideResNet as the original computes them."""

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    def __init__(self, incoming: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or incoming != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(incoming, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn1(torch.relu(self.conv1(x)))
        h = self.bn2(torch.relu(self.conv2(h)))
        return h + (x if self.downsample is None else self.downsample(x))


class WideBlock(nn.Module):
    """A unit whose second convolution has the stride."""

    def __init__(self, incoming: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(incoming)
        self.conv1 = nn.Conv2d(incoming, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1)
        self.shortcut = nn.Sequential()
        if stride != 1 or incoming != channels:
            self.shortcut.append(nn.Conv2d(incoming, channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(torch.relu(self.bn1(x)))
        return self.conv2(torch.relu(self.bn2(h))) + self.shortcut(x)


def layer(
    block: type[nn.Module], incoming: int, channels: int, stride: int, n: int
) -> nn.Sequential:
    rest = (block(channels, channels, 1) for _ in range(n - 1))
    return nn.Sequential(block(incoming, channels, stride), *rest)


class OriginalResNet(nn.Module):
    def __init__(self, depth: int, alpha: int = 2, num_classes: int = 10) -> None:
        super().__init__()
        n = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, alpha, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(alpha)
        self.layer1 = layer(BasicBlock, alpha, alpha, 1, n)
        self.layer2 = layer(BasicBlock, alpha, 2 * alpha, 2, n)
        self.layer3 = layer(BasicBlock, 2 * alpha, 4 * alpha, 2, n)
        self.fc = nn.Linear(4 * alpha, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


class OriginalWideResNet(nn.Module):
    def __init__(
        self, depth: int, widen_factor: int, alpha: int = 2, num_classes: int = 10
    ) -> None:
        super().__init__()
        n, width = (depth - 4) // 6, alpha * widen_factor
        self.conv1 = nn.Conv2d(3, alpha, 3, padding=1)
        self.layer1 = layer(WideBlock, alpha, width, 1, n)
        self.layer2 = layer(WideBlock, width, 2 * width, 2, n)
        self.layer3 = layer(WideBlock, 2 * width, 4 * width, 2, n)
        self.bn1 = nn.BatchNorm2d(4 * width, momentum=0.9)
        self.linear = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.linear(torch.relu(self.bn1(x)).mean(dim=(2, 3)))
