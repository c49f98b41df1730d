"""The parts of networks: residual units, stitches, stems and heads. None depends on depth-time.

    post-activation:  F(x) = BN2(ReLU(conv2(BN1(ReLU(conv1(x))))))
    pre-activation:   F(x) = conv2(ReLU(BN2(conv1(ReLU(BN1(x))))))

With equal channels in and out and stride 1, F is the rate of an ODE block or the residual of a
ResNet's unit. With a stride and more channels out it is the residual of a stitch, which maps one
segment's state to the next one's.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from contnet import arguments
from contnet.networks.held_norm import HeldBatchNorm2d

ONEDNN_BLOCK = 16
"""Channels in a block of oneDNN's 1x1 convolution on a CPU with AVX-512; 8 on others."""


def conv3x3(
    in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = True
) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps height and width, divided by the stride."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias)


class SubsampledConv1x1(nn.Conv2d):
    """A strided 1x1 convolution, computed as an unstrided one of the pixels that the stride leaves.

    If a strided one has fewer channels than oneDNN's block, oneDNN writes past its memory in the
    gradient (channels_last, float32; github.com/uxlfoundation/oneDNN/issues/6035). The process then
    crashes or computes with wrong numbers. Wider convolutions are left to oneDNN, which takes half
    the time or less in bfloat16.
    """

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(
            x[..., :: self.stride[0], :: self.stride[1]], self.weight, self.bias
        )


def conv1x1(
    in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = False
) -> nn.Conv2d:
    """Return a 1x1 convolution that divides height and width by the stride."""
    overrun = stride > 1 and in_channels < ONEDNN_BLOCK
    make = SubsampledConv1x1 if overrun else nn.Conv2d
    return make(in_channels, out_channels, kernel_size=1, stride=stride, bias=bias)


class SkipInit(nn.Module):
    """Multiplication by a learnable scalar that starts at 0 (De, Smith 2020, arXiv 2002.10444)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def last_affine(self) -> nn.Module:
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class ResidualUnit(nn.Sequential):
    """The residual F: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).

    The first convolution has the stride, or the second one with `stride_in="second"`. With
    `last_norm=False` a post-activation F holds its second batch norm without applying it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        batch_norm: bool = True,
        use_skipinit: bool = False,
        activation_before_conv: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        last_norm: bool = True,
        stride_in: str = "first",
    ) -> None:
        strides = (stride, 1) if stride_in == "first" else (1, stride)
        second_norm = nn.BatchNorm2d if last_norm else HeldBatchNorm2d
        layers: dict[str, nn.Module] = {
            "conv1": conv3x3(in_channels, out_channels, strides[0], bias=bias),
            "relu1": nn.ReLU(),
            "bn1": nn.BatchNorm2d(in_channels if activation_before_conv else out_channels),
            "dropout": nn.Dropout(dropout),
            "conv2": conv3x3(out_channels, out_channels, strides[1], bias=bias),
            "relu2": nn.ReLU(),
            "bn2": second_norm(out_channels),
            "skipinit": SkipInit(),
        }
        order = ["bn1", "relu1", "conv1", "bn2", "relu2", "conv2"]
        if not activation_before_conv:
            order = ["conv1", "relu1", "bn1", "conv2", "relu2", "bn2"]
        if not batch_norm:
            order = [name for name in order if not name.startswith("bn")]
        if dropout > 0:
            order.insert(order.index("conv2"), "dropout")
        if use_skipinit:
            order.append("skipinit")
        super().__init__(OrderedDict((name, layers[name]) for name in order))


def make_unit(
    batch_norm: bool, use_skipinit: bool, activation_before_conv: bool
) -> Callable[..., ResidualUnit]:
    """Return a function of channels in, channels out and stride that makes residual units."""
    return partial(
        ResidualUnit,
        batch_norm=arguments.boolean("batch_norm", batch_norm),
        use_skipinit=arguments.boolean("use_skipinit", use_skipinit),
        activation_before_conv=arguments.boolean("activation_before_conv", activation_before_conv),
    )


def make_node(
    unit: Callable[..., nn.Module], rate: Callable[..., nn.Module] | None, use_skipinit: bool
) -> Callable[[int], nn.Module]:
    """Return a function of the channels that makes a node: a residual unit, or the user's rate.

    Raises:
        ValueError: if `rate` cannot be called, or `use_skipinit` is set for it.
    """
    if rate is None:
        return lambda channels: unit(channels, channels)
    if not callable(rate):
        raise ValueError(
            "rate must be null or the name of a class as rate._target_, which makes a module from "
            f"channels=..., got {rate!r}"
        )
    if use_skipinit:
        raise ValueError(
            "use_skipinit must be false with model.rate, whose rates have no such factor; multiply "
            "by contnet.networks.units.SkipInit in the rate instead"
        )
    return lambda channels: rate(channels=channels)


class SkipConnection(nn.Module):
    """shortcut(x) + epsilon F(x), of shapes as `ResidualUnit`."""

    def __init__(self, residual: ResidualUnit, shortcut: nn.Module, epsilon: float = 1.0) -> None:
        super().__init__()
        self.residual = residual
        self.shortcut = shortcut
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.shortcut(x), self.residual(x), alpha=self.epsilon)


def make_stem(in_channels: int, alpha: int, *, batch_norm: bool) -> nn.Sequential:
    """Return the first layers of a network: (N, in_channels, H, W) -> (N, alpha, H, W)."""
    arguments.integer("in_channels", in_channels, minimum=1)
    stem = nn.Sequential(conv3x3(in_channels, alpha, bias=False))
    if batch_norm:
        stem.append(nn.BatchNorm2d(alpha))
    return stem.append(nn.ReLU())


def make_stitch(
    incoming: int,
    channels: int,
    stride: int,
    residual: Callable[[int, int, int], ResidualUnit] | None,
    epsilon: float,
) -> nn.Module:
    """Return a stitch: a 1x1 convolution, and `epsilon` times the residual where there is one."""
    shortcut = conv1x1(incoming, channels, stride)
    if residual is None:
        return shortcut
    return SkipConnection(residual(incoming, channels, stride), shortcut, epsilon)


def make_segments(
    widths: tuple[int, ...],
    node: Callable[[int], nn.Module],
    residual: Callable[..., ResidualUnit] | None,
    n_nodes: int,
    epsilon: float,
    first_stitch: bool,
) -> tuple[nn.ModuleList, list[nn.ModuleList]]:
    """Return the stitches and the ODE blocks' nodes of three segments.

    `widths` are the channels of the stem and of each segment, and `node` makes a node of that many
    channels. Without `first_stitch` the first segment has none, unless it is wider than the stem.
    """
    stitches, nodes = nn.ModuleList(), []
    for stride, (incoming, channels) in zip((1, 2, 2), pairwise(widths), strict=True):
        if stride == 1 and incoming == channels and not first_stitch:
            stitches.append(nn.Identity())
        else:
            stitches.append(make_stitch(incoming, channels, stride, residual, epsilon))
        nodes.append(nn.ModuleList(node(channels) for _ in range(n_nodes)))
    return stitches, nodes


def make_head(channels: int, num_classes: int, *, batch_norm: bool) -> nn.Sequential:
    """Return the last layers of a network: (N, channels, H, W) -> logits (N, num_classes)."""
    head: dict[str, nn.Module] = {
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "linear": nn.Linear(channels, num_classes),
    }
    if batch_norm:
        head = {"bn": nn.BatchNorm2d(channels, momentum=0.9), **head}
    return nn.Sequential(OrderedDict(head))


def initialise(module: nn.Module) -> None:
    """Initialise a convolution's weight from N(0, s^2) with s = sqrt(2 / (k k out_channels)).

    It is a function for `Module.apply`. Source: He et al. 2015, section 2.2.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def initialise_rate(module: nn.Module) -> None:
    """Initialise a convolution as `initialise` does, with its bias at 0, for `Module.apply`."""
    initialise(module)
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
