"""Residual networks whose runs of residual units are ODE blocks."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from contnet import arguments
from contnet.networks.units import (
    initialise,
    initialise_rate,
    make_head,
    make_node,
    make_segments,
    make_stem,
    make_unit,
)
from contnet.ode.adaptive import Effort
from contnet.ode.bases import make_basis
from contnet.ode.block import ODEBlock
from contnet.ode.depth_time import DepthTime, depth_time
from contnet.ode.refinement import Origin
from contnet.ode.schemes import AdaptiveScheme, Scheme

WHOLE_UP_TO = 24
"""The largest number of rate evaluations of a network that is compiled as a whole.

Such a network is faster than one compiled by steps, but each rate evaluation makes compilation
longer (see benchmarks.compile_time). ContinuousNet 2-2-2 with RK4 has 24. Each node that makes up
theta(t) makes it longer as well; in a Legendre basis all nodes do.
"""

MOST_VARIANTS = 32
"""Variants of a module's code that compilation by steps makes, at any depth.

There are a stitch and a rate in each of three segments, for one node and several, with and without
a gradient.
"""


class ContinuousNet(nn.Module):
    """ContinuousNet (Queiruga et al. 2020, section 4).

    (N, in_channels, H, W) -> logits (N, num_classes), through three segments of alpha, 2 alpha and
    4 alpha channels. Each is a stitch, of which the later two halve height and width, and an ODE
    block of `initial_time_d` nodes.

    Args:
        in_channels: channels of the images.
        num_classes: number of classes.
        alpha: channels of the first segment.
        initial_time_d: nodes K of every ODE block, until it is refined.
        scheme, rtol, atol, max_num_steps, control, gradient, basis: as for `ODEBlock`.
        n_time_steps_per: steps on each node's interval: n_time_steps = K n_time_steps_per.
        time_epsilon: epsilon of every ODE block; `initial_time_d` by default. A step of Euler's
            method is then x + R(x) if n_time_steps_per = 1.
        batch_norm: false drops every batch norm.
        use_skipinit: a learnable factor that starts at 0 on every node's rate and every stitch's
            residual.
        stitch: false leaves out the first stitch and makes the others strided 1x1 convolutions.
        stitch_norm: `both` applies the two batch norms of a stitch's residual. `first` holds the
            second one without applying it; the units must then be post-activation, and `stitch`
            true. It changes nothing where `batch_norm` is false.
        activation_before_conv: pre-activation units, and a batch norm before the pooling.
        widen_factor: factor of the channels of the segments, but not of the stem. If it is given,
            the first stitch is left out where it widens nothing.
        rate: a function that makes a rate of your own, as rate(channels=16). It must map
            (N, channels, H, W) to the same shape. It replaces the residual units in every ODE
            block, and keeps the weights that it starts with. The options `batch_norm`, `stitch` and
            `activation_before_conv` then shape the stem, the stitches and the head alone.

    Raises:
        ValueError: if an argument is out of range, the scheme is unknown, or `use_skipinit` is set
            for a rate of your own, which has no such factor.
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
        rate: Callable[..., nn.Module] | None = None,
        max_num_steps: int | None = None,
        control: str | None = None,
        stitch_norm: str = "both",
    ) -> None:
        super().__init__()
        self._compute = ContinuousNet._logits
        self.num_classes = arguments.integer("num_classes", num_classes, minimum=2)
        arguments.integer("initial_time_d", initial_time_d, minimum=1)
        make_basis(basis, initial_time_d, "initial_time_d")
        arguments.integer("n_time_steps_per", n_time_steps_per, minimum=1)
        n_time_steps = initial_time_d * n_time_steps_per
        epsilon = float(initial_time_d) if time_epsilon is None else time_epsilon
        arguments.number("time_epsilon", epsilon, minimum=0, exclusive=True)
        unit = make_unit(batch_norm, use_skipinit, activation_before_conv)
        stitch_unit = partial(
            unit, last_norm=_applies_both(stitch_norm, stitch, activation_before_conv)
        )
        residual = stitch_unit if stitch else None
        widths = _widths(alpha, widen_factor)

        self.stem = make_stem(in_channels, alpha, batch_norm=batch_norm)
        self.stitches, nodes = make_segments(
            (alpha, *widths),
            make_node(unit, rate, use_skipinit),
            residual,
            initial_time_d,
            epsilon / n_time_steps,
            stitch and widen_factor is None,
        )
        head = make_head(widths[-1], num_classes, batch_norm=batch_norm and activation_before_conv)
        ours = nodes if rate is None else []
        _initialise([self.stem, self.stitches, *ours, head], ours)
        block = partial(
            ODEBlock,
            n_basis=initial_time_d,
            n_time_steps=n_time_steps,
            scheme=scheme,
            epsilon=epsilon,
            rtol=rtol,
            atol=atol,
            max_num_steps=max_num_steps,
            control=control,
            gradient=gradient,
            basis=basis,
        )
        self.blocks = nn.ModuleList(block(iter(made).__next__) for made in nodes)
        self.head = head

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations of the last forward pass, over all ODE blocks."""
        return self.effort.n_f_evals

    @property
    def effort(self) -> Effort:
        """Rate evaluations and adaptive steps of the last forward pass, over all ODE blocks."""
        return self._depth_time.effort

    @property
    def _depth_time(self) -> DepthTime:
        found = depth_time(self)
        assert found is not None
        return found

    def refine(self, n_basis: int | None = None, *, grow: bool = False) -> list[Origin]:
        """Refine every ODE block, and return the origin of each parameter (`ODEBlock.refine`)."""
        return self._depth_time.refine(n_basis, grow=grow)

    def set_manifestation(
        self,
        scheme: str | Scheme | AdaptiveScheme | None = None,
        n_time_steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> None:
        """Compute the same network by another graph: see `ODEBlock.set_manifestation`."""
        self._depth_time.set_manifestation(scheme, n_time_steps, rtol, atol)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the network at its present depth, with the arguments of `torch.compile`.

        A network of few rate evaluations is compiled as a whole. A deeper one is compiled by its
        stitches and one step of each ODE block, so that a deeper one takes no longer to compile.
        """
        self._compute = ContinuousNet._logits
        if self._suits_whole_compilation():
            self._compute = torch.compile(ContinuousNet._logits, *args, **options)
            return
        limits: Any = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, MOST_VARIANTS)
        for module in (*self.stitches, *self.blocks):
            module.compile(*args, **options)

    def _suits_whole_compilation(self) -> bool:
        blocks = self._depth_time.blocks
        return self.n_f_evals <= WHOLE_UP_TO and all(
            isinstance(block.scheme, Scheme)
            and block.gradient == "backprop"
            and block.basis.n_together <= 2
            for block in blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        return self._compute(self, x)

    def _logits(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stitch, block in zip(self.stitches, self.blocks, strict=True):
            x = block(stitch(x))
        logits: Tensor = self.head(x)
        return logits


class WideContinuousNet(ContinuousNet):
    """The continuous counterpart of `WideResNet`: (N, in_channels, H, W) -> (N, num_classes).

    Its units are pre-activation, and its segments are `widen_factor` times as wide as those of
    `ContinuousNet`. The other arguments are those of `ContinuousNet`.
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


def _applies_both(stitch_norm: str, stitch: bool, activation_before_conv: bool) -> bool:
    """Return True if the stitches apply both of their batch norms."""
    arguments.one_of("stitch_norm", stitch_norm, ("both", "first"))
    has_residuals = arguments.boolean("stitch", stitch)
    if stitch_norm == "first" and activation_before_conv:
        raise ValueError("stitch_norm must be both with activation_before_conv=true, got 'first'")
    if stitch_norm == "first" and not has_residuals:
        raise ValueError(
            "stitch_norm must be both with stitch=false, which leaves no norm to hold, got 'first'"
        )
    return stitch_norm == "both"


def _widths(alpha: int, widen_factor: int | None) -> tuple[int, ...]:
    """Return the channels of the three segments."""
    arguments.integer("alpha", alpha, minimum=1)
    if widen_factor is None:
        return (alpha, 2 * alpha, 4 * alpha)
    arguments.integer("widen_factor", widen_factor, minimum=1)
    return tuple(factor * alpha * widen_factor for factor in (1, 2, 4))


def _initialise(parts: Iterable[nn.Module], nodes: Iterable[nn.Module]) -> None:
    """Initialise all parts, and the nodes of the ODE blocks once more as rates."""
    for part in parts:
        part.apply(initialise)
    for node in nodes:
        node.apply(initialise_rate)
