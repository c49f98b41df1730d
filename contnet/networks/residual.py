"""Residual networks with a fixed number of units, with which continuous ones are compared."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from torch import Tensor, nn

from contnet import arguments
from contnet.networks.units import ResidualUnit, SkipConnection, conv1x1, conv3x3, initialise


class ResNet(nn.Module):
    """ResNet for small images, post-activation: (N, in_channels, H, W) -> logits (N, num_classes).

    The segments are those of He et al. 2016, section 4.2; the order within a unit is that of the
    original code of ContinuousNet. Three segments of alpha, 2 alpha and 4 alpha channels have n
    units each: x + BN(ReLU(conv(BN(ReLU(conv(x)))))), without biases. Where shapes change, the
    shortcut is a strided 1x1 convolution and BN.

    Args:
        in_channels: channels of the images.
        num_classes: number of classes.
        depth: number of layers, 6 n + 2.
        alpha: channels of the first segment.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self, in_channels: int = 3, num_classes: int = 10, depth: int = 20, alpha: int = 16
    ) -> None:
        super().__init__()
        n_units = _units_of_a_segment(depth, extra_layers=2)
        self.num_classes = arguments.integer("num_classes", num_classes, minimum=2)
        arguments.integer("alpha", alpha, minimum=1)
        self.stem = nn.Sequential(
            conv3x3(in_channels, alpha, bias=False), nn.BatchNorm2d(alpha), nn.ReLU()
        )

        def unit(incoming: int, channels: int, stride: int) -> SkipConnection:
            shortcut: nn.Module = nn.Identity()
            if incoming != channels or stride != 1:
                shortcut = nn.Sequential(
                    conv1x1(incoming, channels, stride), nn.BatchNorm2d(channels)
                )
            return SkipConnection(ResidualUnit(incoming, channels, stride, bias=False), shortcut)

        self.segments = nn.Sequential(*_segments(unit, alpha, alpha, n_units))
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * alpha, num_classes)
        )
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.segments(self.stem(x)))


class WideResNet(nn.Module):
    """WideResNet (Zagoruyko and Komodakis 2016, arXiv 1605.07146), pre-activation.

    (N, in_channels, H, W) -> logits (N, num_classes).

    It differs from `ResNet` in its units x + conv(ReLU(BN(conv(ReLU(BN(x)))))), in segments
    `widen_factor` times as wide as the stem, in biases on all convolutions, in plain 1x1
    convolutions as shortcuts, and in BN and ReLU before the pooling.

    Args:
        in_channels: channels of the images.
        num_classes: number of classes.
        depth: number of layers, 6 n + 4.
        widen_factor: factor of the segments' alpha, 2 alpha and 4 alpha channels.
        alpha: channels of the stem.
        dropout: share of activations dropped between the two convolutions of a unit.
        stride_in: the convolution that halves height and width in the first unit of the later
            segments: `first` or `second`.
        initialisation: `he` draws the weights of the convolutions as in `ContinuousNet`; `pytorch`
            leaves them as PyTorch draws them.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        depth: int = 58,
        widen_factor: int = 4,
        alpha: int = 16,
        dropout: float = 0.0,
        stride_in: str = "first",
        initialisation: str = "he",
    ) -> None:
        super().__init__()
        n_units = _units_of_a_segment(depth, extra_layers=4)
        self.num_classes = arguments.integer("num_classes", num_classes, minimum=2)
        arguments.integer("alpha", alpha, minimum=1)
        arguments.integer("widen_factor", widen_factor, minimum=1)
        arguments.number("dropout", dropout, minimum=0, below=1)
        arguments.one_of("stride_in", stride_in, ("first", "second"))
        arguments.one_of("initialisation", initialisation, ("he", "pytorch"))
        width = alpha * widen_factor

        def unit(incoming: int, channels: int, stride: int) -> SkipConnection:
            shortcut: nn.Module = nn.Identity()
            if incoming != channels or stride != 1:
                shortcut = conv1x1(incoming, channels, stride, bias=True)
            residual = ResidualUnit(
                incoming,
                channels,
                stride,
                activation_before_conv=True,
                dropout=dropout,
                stride_in=stride_in,
            )
            return SkipConnection(residual, shortcut)

        self.stem = conv3x3(in_channels, alpha)
        self.segments = nn.Sequential(*_segments(unit, alpha, width, n_units))
        head = {
            "bn": nn.BatchNorm2d(4 * width, momentum=0.9),
            "relu": nn.ReLU(),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "linear": nn.Linear(4 * width, num_classes),
        }
        self.head = nn.Sequential(OrderedDict(head))
        if initialisation == "he":
            self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.segments(self.stem(x)))


def _units_of_a_segment(depth: int, extra_layers: int) -> int:
    arguments.integer("depth", depth, minimum=6 + extra_layers)
    if depth % 6 != extra_layers:
        nearest = depth - (depth - extra_layers) % 6
        raise ValueError(
            f"depth must be 6 n + {extra_layers}, such as {nearest} or {nearest + 6}, got {depth}"
        )
    return depth // 6


def _segments(
    unit: Callable[[int, int, int], SkipConnection], incoming: int, width: int, n_units: int
) -> Iterator[nn.Sequential]:
    for segment, channels in enumerate((width, 2 * width, 4 * width)):
        units = [unit(incoming, channels, 1 if segment == 0 else 2)]
        units += [unit(channels, channels, 1) for _ in range(n_units - 1)]
        yield nn.Sequential(*units)
        incoming = channels
