"""ContinuousNet and WideContinuousNet as the original computes them."""

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

NUDGE = 1e-15
"""How much earlier than the end of its step a stage at c = 1 looks up its weights."""

TABLEAUS = {
    "euler": ([0], [[]], [1]),
    "midpoint": ([0, 1 / 2], [[], [1 / 2]], [0, 1]),
    "rk4": (
        [0, 1 / 3, 2 / 3, 1],
        [[], [1 / 3], [-1 / 3, 1], [1, -1, 1]],
        [1 / 8, 3 / 8, 3 / 8, 1 / 8],
    ),
    "rk4_classic": (
        [0, 1 / 2, 1 / 2, 1],
        [[], [1 / 2], [0, 1 / 2], [0, 0, 1]],
        [1 / 6, 1 / 3, 1 / 3, 1 / 6],
    ),
}
"""Times c of the stages, weights a of the stages before, and weights b of the step."""


def interval(t: Tensor, n: int) -> int:
    """Return the interval out of n that a time is looked up in, in the arithmetic of its type."""
    return min(int(t * n), n - 1)


def halved(tensor: Tensor) -> nn.Parameter:
    """Return the weights of 2 K intervals: each interval becomes two."""
    return nn.Parameter(tensor.detach().repeat_interleave(2, dim=0))


class TimeConv(nn.Module):
    """A 3x3 convolution with weights for each of K intervals of time."""

    def __init__(self, n: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n, channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(n, channels))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        k = interval(t, len(self.weight))
        return functional.conv2d(x, self.weight[k], self.bias[k], padding=1)

    def refine(self) -> None:
        self.weight, self.bias = halved(self.weight), halved(self.bias)


class TimeNorm(nn.Module):
    """A batch norm for each of K intervals of time."""

    def __init__(self, n: int, channels: int) -> None:
        super().__init__()
        self.bns = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(n))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.bns[interval(t, len(self.bns))](x)

    def refine(self) -> None:
        self.bns = nn.ModuleList(copy.deepcopy(bn) for bn in self.bns for _ in range(2))


class TimeFactor(nn.Module):
    """A scalar for each of K intervals of time, by which the rate is multiplied."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.weight[interval(t, len(self.weight))] * x

    def refine(self) -> None:
        self.weight = halved(self.weight)


class Rate(nn.Module):
    def __init__(
        self, n: int, channels: int, epsilon: float, norm: bool, skip: bool, before: bool
    ) -> None:
        super().__init__()
        self.epsilon, self.before = epsilon, before
        self.L1, self.L2 = TimeConv(n, channels), TimeConv(n, channels)
        self.bn1 = TimeNorm(n, channels) if norm else None
        self.bn2 = TimeNorm(n, channels) if norm else None
        self.skip_init = TimeFactor(n) if skip else None

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        for conv, norm in ((self.L1, self.bn1), (self.L2, self.bn2)):
            if not self.before:
                x = torch.relu(conv(t, x))
            x = x if norm is None else norm(t, x)
            if self.before:
                x = conv(t, torch.relu(x))
        x = x if self.skip_init is None else self.skip_init(t, x)
        return self.epsilon * x

    def refine(self) -> None:
        for part in self.children():
            part.refine()


class Block(nn.Module):
    """An ordinary differential equation, solved in equal steps from 0 to 1."""

    def __init__(self, net: Rate, n_time_steps: int, scheme: str) -> None:
        super().__init__()
        self.net, self.n_time_steps, self.scheme = net, n_time_steps, scheme
        self.times = torch.float64

    def forward(self, x: Tensor) -> Tensor:
        c, a, b = TABLEAUS[self.scheme]
        grid = torch.linspace(0, 1, self.n_time_steps + 1, dtype=self.times)
        for start, end in pairwise(grid):
            h = end - start
            stages: list[Tensor] = []
            for time, row in zip(c, a, strict=True):
                state = x
                for weight, stage in zip(row, stages, strict=True):
                    state = state + h * weight * stage
                looked_up = end - NUDGE if time == 1 else start + time * h
                stages.append(self.net(looked_up, state))
            for weight, stage in zip(b, stages, strict=True):
                x = x + h * weight * stage
        return x

    def refine(self) -> None:
        self.net.refine()
        self.n_time_steps *= 2


class Stitch(nn.Module):
    """The residual of a stitch beside a 1x1 convolution.

    Post-activation, it does not apply bn2. Pre-activation, it does not apply skip_init.
    """

    def __init__(
        self,
        incoming: int,
        channels: int,
        stride: int,
        epsilon: float,
        norm: bool,
        skip: bool,
        before: bool,
    ) -> None:
        super().__init__()
        self.epsilon, self.before = epsilon, before
        self.downsample = nn.Conv2d(incoming, channels, 1, stride, bias=False)
        self.L1 = nn.Conv2d(incoming, channels, 3, stride, padding=1)
        self.L2 = nn.Conv2d(channels, channels, 3, padding=1)
        if norm:
            self.bn1 = nn.BatchNorm2d(incoming if before else channels)
            self.bn2 = nn.BatchNorm2d(channels)
        if skip:
            self.skip_init = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.before:
            h = self.L2(torch.relu(self.bn2(self.L1(torch.relu(self.bn1(x))))))
        else:
            h = torch.relu(self.L1(x))
            h = self.bn1(h) if hasattr(self, "bn1") else h
            h = torch.relu(self.L2(h))
            h = self.skip_init * h if hasattr(self, "skip_init") else h
        return self.downsample(x) + self.epsilon * h


class OriginalContinuousNet(nn.Module):
    """Either continuous network: with `widen_factor` it is WideContinuousNet."""

    def __init__(
        self,
        n: int,
        scheme: str,
        alpha: int = 2,
        n_time_steps_per: int = 1,
        time_epsilon: float | None = None,
        use_batch_norms: bool = True,
        use_skipinit: bool = False,
        before: bool = False,
        widen_factor: int | None = None,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        epsilon = float(n) if time_epsilon is None else time_epsilon
        n_time_steps = n * n_time_steps_per
        flags = (use_batch_norms, use_skipinit, before)
        width = alpha * (widen_factor or 1)

        def stitch(incoming: int, channels: int, stride: int) -> Stitch:
            return Stitch(incoming, channels, stride, epsilon / n_time_steps, *flags)

        def block(channels: int) -> Block:
            return Block(Rate(n, channels, epsilon, *flags), n_time_steps, scheme)

        layers = [
            nn.Conv2d(3, alpha, 3, padding=1, bias=False),
            nn.BatchNorm2d(alpha) if use_batch_norms else None,
            nn.ReLU(),
            stitch(alpha, width, 1) if widen_factor != 1 else None,
            block(width),
            stitch(width, 2 * width, 2),
            block(2 * width),
            stitch(2 * width, 4 * width, 2),
            block(4 * width),
            nn.BatchNorm2d(4 * width, momentum=0.9) if before else None,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, num_classes),
        ]
        self.net = nn.Sequential(*(layer for layer in layers if layer is not None))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def refine(self) -> None:
        for block in self.blocks():
            block.refine()

    def blocks(self) -> list[Block]:
        return [layer for layer in self.net if isinstance(layer, Block)]
