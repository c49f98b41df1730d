"""Residual networks whose runs of residual units are ODE blocks."""

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from contnet import arguments
from contnet.networks.units import (
    ResidualUnit,
    SkipConnection,
    conv1x1,
    conv3x3,
    initialise,
    initialise_rate,
)
from contnet.ode.basis import Basis, make_basis
from contnet.ode.block import ODEBlock, Origin
from contnet.ode.schemes import AdaptiveScheme, Scheme

WHOLE_UP_TO = 24
"""Rate evaluations of a network that is still compiled as a whole: quicker than one compiled by steps, but each of them
adds to the compilation (see benchmarks.compile_time). ContinuousNet 2-2-2 with RK4 has as many. So does each node
that makes up theta(t), of which a Legendre basis has them all."""

MOST_VARIANTS = 32
"""Of a module's code that compilation by steps makes, at any depth: for a stitch and a rate in each of three segments,
for one node and several, with and without a gradient, and for what is computed again on the way back."""


class ContinuousNet(nn.Module):
    """ContinuousNet (Queiruga et al. 2020, section 4): (N, in_channels, H, W) -> logits (N, num_classes).

    Three segments of alpha, 2 alpha and 4 alpha channels, each a stitch (the later two halve height and width) and an
    ODE block of `initial_time_d` nodes.

    Args:
        in_channels: channels of the images.
        num_classes: classes to tell apart.
        alpha: channels of the first segment.
        initial_time_d: nodes K of every ODE block, until it is refined.
        scheme, rtol, atol, gradient, basis: as for `ODEBlock`.
        n_time_steps_per: steps on each node's interval, so that n_time_steps = K n_time_steps_per.
        time_epsilon: epsilon of every ODE block; `initial_time_d` unless given, where a step of Euler's is x + R(x).
        batch_norm: false drops every batch norm.
        use_skipinit: a learnable factor that starts at 0 on every node's rate and every stitch's residual.
        stitch: false leaves out the first stitch and makes the others plain strided 1x1 convolutions.
        activation_before_conv: pre-activation units, and a batch norm before the pooling.
        widen_factor: makes the segments, but not the stem, that many times as wide; a first stitch that widens nothing
            is then left out.

    Raises:
        ValueError: if an argument is out of range or the scheme unknown.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        alpha: int = 16,
        initial_time_d: int = 1,
        scheme: str | Scheme | AdaptiveScheme = "euler",
        n_time_steps_per: int = 1,
        time_epsilon: float | None = None,
        batch_norm: bool = True,
        use_skipinit: bool = False,
        stitch: bool = True,
        activation_before_conv: bool = False,
        rtol: float | None = None,
        atol: float | None = None,
        widen_factor: int | None = None,
        gradient: str = "backprop",
        basis: str = "piecewise_constant",
    ) -> None:
        super().__init__()
        arguments.integer("in_channels", in_channels, minimum=1)
        self.num_classes = arguments.integer("num_classes", num_classes, minimum=2)
        arguments.integer("alpha", alpha, minimum=1)
        self.initial_time_d = arguments.integer("initial_time_d", initial_time_d, minimum=1)
        make_basis(basis, initial_time_d, "initial_time_d")
        self.n_time_steps_per = arguments.integer("n_time_steps_per", n_time_steps_per, minimum=1)
        self.n_refined = 0
        if widen_factor is not None:
            arguments.integer("widen_factor", widen_factor, minimum=1)
        time_epsilon = float(initial_time_d) if time_epsilon is None else time_epsilon
        arguments.number("time_epsilon", time_epsilon, minimum=0, exclusive=True)
        for name, flag in (
            ("batch_norm", batch_norm),
            ("use_skipinit", use_skipinit),
            ("stitch", stitch),
            ("activation_before_conv", activation_before_conv),
        ):
            arguments.boolean(name, flag)

        unit = partial(
            ResidualUnit,
            batch_norm=batch_norm,
            use_skipinit=use_skipinit,
            activation_before_conv=activation_before_conv,
        )
        n_time_steps = initial_time_d * n_time_steps_per
        self.stem = nn.Sequential(conv3x3(in_channels, alpha, bias=False))
        if batch_norm:
            self.stem.append(nn.BatchNorm2d(alpha))
        self.stem.append(nn.ReLU())
        self.stitches = nn.ModuleList()
        self.blocks = nn.ModuleList()
        incoming = alpha
        width = alpha * (widen_factor or 1)
        for segment, channels in enumerate((width, 2 * width, 4 * width)):
            stride = 1 if segment == 0 else 2
            if incoming == channels and (widen_factor is not None or not stitch):
                self.stitches.append(nn.Identity())
            elif stitch:
                shortcut = conv1x1(incoming, channels, stride)
                residual = unit(incoming, channels, stride)
                self.stitches.append(
                    SkipConnection(residual, shortcut, epsilon=time_epsilon / n_time_steps)
                )
            else:
                self.stitches.append(conv1x1(incoming, channels, stride))
            rate = partial(unit, channels, channels)
            self.blocks.append(
                ODEBlock(
                    rate, initial_time_d, n_time_steps, scheme, time_epsilon, rtol, atol, gradient
                )
            )
            incoming = channels
        head: dict[str, nn.Module] = {
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "linear": nn.Linear(incoming, num_classes),
        }
        if activation_before_conv and batch_norm:
            head = {"bn": nn.BatchNorm2d(incoming, momentum=0.9), **head}
        self.head = nn.Sequential(OrderedDict(head))

        self.apply(initialise)
        for block in self.ode_blocks:
            block.nodes.apply(initialise_rate)
            block.start_in_basis(basis)

    @property
    def ode_blocks(self) -> list[ODEBlock]:
        """The ODE blocks, first segment first."""
        return [block for block in self.blocks if isinstance(block, ODEBlock)]

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations of the last forward pass, over all ODE blocks."""
        return sum(block.n_f_evals for block in self.ode_blocks)

    @property
    def scheme(self) -> Scheme | AdaptiveScheme:
        """The scheme that integrates every ODE block."""
        return self.ode_blocks[0].scheme

    @property
    def n_basis(self) -> int:
        """Nodes of every ODE block."""
        return self.ode_blocks[0].n_basis

    @property
    def n_time_steps(self) -> int:
        """Steps that a fixed-step scheme takes through every ODE block."""
        return self.ode_blocks[0].n_time_steps

    @property
    def basis(self) -> Basis:
        """What theta(t) of every ODE block is made of."""
        return self.ode_blocks[0].basis

    @property
    def unvisited(self) -> list[int]:
        """Nodes that are never looked up: see `ODEBlock.unvisited`."""
        return self.ode_blocks[0].unvisited

    def refine(self) -> list[Origin]:
        """Refine every ODE block, and return where each parameter comes from: see `ODEBlock.refine`."""
        self.n_refined += 1
        return [origin for block in self.ode_blocks for origin in block.refine()]

    def make_room(self, basis: str, n_basis: int, n_time_steps: int, n_refined: int) -> None:
        """Nodes of another basis, for weights that are about to be loaded into them, of a network that was refined
        `n_refined` times: see `ODEBlock.make_room`."""
        self.n_refined = n_refined
        for block in self.ode_blocks:
            block.make_room(basis, n_basis, n_time_steps)

    def set_manifestation(
        self,
        scheme: str | Scheme | AdaptiveScheme | None = None,
        n_time_steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> None:
        """Compute the same network by another graph: see `ODEBlock.set_manifestation`."""
        for block in self.ode_blocks:
            block.set_manifestation(scheme, n_time_steps, rtol, atol)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the network as it is now, with the arguments of `torch.compile`: one of few rate evaluations as a
        whole, a deeper one by its stitches and one step of each ODE block, so that depth costs no compilation."""
        self._compiled_call_impl = None
        plain = isinstance(self.scheme, Scheme) and self.ode_blocks[0].gradient == "backprop"
        if plain and self.n_f_evals <= WHOLE_UP_TO and self.basis.n_together <= 2:
            super().compile(*args, **options)
            return
        dynamo = torch._dynamo.config
        dynamo.recompile_limit = max(dynamo.recompile_limit, MOST_VARIANTS)
        for module in (*self.stitches, *self.blocks):
            module.compile(*args, **options)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stitch, block in zip(self.stitches, self.blocks, strict=True):
            x = block(stitch(x))
        return self.head(x)


class WideContinuousNet(ContinuousNet):
    """The continuous relative of a WideResNet: pre-activation units, and segments `widen_factor` times as wide.

    Arguments, otherwise, as for `ContinuousNet`.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        alpha: int = 16,
        widen_factor: int = 4,
        activation_before_conv: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes,
            alpha,
            widen_factor=widen_factor,
            activation_before_conv=activation_before_conv,
            **options,
        )
