"""The convergence of a trained ODE block: is it an integrator?

A block is an integrator if its final state x(1) approaches the exact solution as the steps grow
shorter, at the order of the scheme. Accuracy alone does not show this: logits can be far off and
the class still right. So states are compared, in float64.

The steps divide the elements of theta. There a scheme of order p has an error proportional to h^p,
for steps of length h, if the rate is smooth. A ReLU is not smooth: where a state crosses its kink
within a step, the error is of order 2, whatever the scheme.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from contnet.ode import statistics
from contnet.ode.block import ODEBlock
from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import SCHEMES, AdaptiveScheme, Scheme

N_SAMPLE = 16
"""Images whose states are compared."""

FINEST = 64
"""The smallest number of steps that the finest integration may have."""

FEWEST_POINTS = 4
"""The smallest count of numbers of steps that are compared."""

ROUNDING = 1e-12
"""Relative errors up to this are rounding, and say nothing of the scheme."""

STRAIGHT = 0.15
"""Local slopes that differ by no more than this lie on one straight line."""


@dataclass(frozen=True)
class Convergence:
    """The errors of one ODE block with one scheme, over the number of steps.

    The *asymptotic range* is the finest steps on which the local slopes of log(error) agree,
    without errors of the size of rounding.

    Args:
        block: number of the block in its network, from 1.
        scheme: name of the scheme.
        order: order of the scheme.
        n_time_steps: the numbers of steps.
        errors: the relative error of x(1) for each.
        slope: the order that the errors show over the asymptotic range; None without one.
        asymptotic_from: the number of steps where that range begins; None without one.
    """

    block: int
    scheme: str
    order: int
    n_time_steps: list[int]
    errors: list[float]
    slope: float | None
    asymptotic_from: int | None


def network_convergence(
    network: nn.Module, images: Tensor, schemes: Sequence[Scheme | AdaptiveScheme]
) -> list[Convergence]:
    """Return the convergence of every ODE block with every fixed-step scheme.

    Each block starts from the states that the images have when they reach it, in the present
    manifestation of the network. Its norms keep the statistics of that manifestation throughout:
    with statistics of each number of steps, each would solve another equation. The network is not
    changed.

    Args:
        network: any module that contains ODE blocks.
        images: normalised images (n, C, H, W).
        schemes: schemes to integrate with; adaptive ones are ignored.
    """
    network = copy.deepcopy(network).double().eval()
    statistics.provide(network, [])
    fixed = [scheme for scheme in schemes if isinstance(scheme, Scheme)]
    return [
        found
        for number, (block, x) in _incoming_states(network, images.double()).items()
        for found in block_convergence(block, x, fixed, number)
    ]


def _incoming_states(network: nn.Module, images: Tensor) -> dict[int, tuple[ODEBlock, Tensor]]:
    """Return the ODE blocks by number, each with the first state that reaches it."""
    depth = depth_time(network)
    states: dict[nn.Module, Tensor] = {}

    def keep(block: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        states.setdefault(block, arguments[0])

    blocks = depth.blocks if depth else ()
    hooks = [block.register_forward_pre_hook(keep) for block in blocks]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    numbered = enumerate(blocks, start=1)
    return {number: (block, states[block]) for number, block in numbered if block in states}


def block_convergence(
    block: ODEBlock, x: Tensor, schemes: Sequence[Scheme], number: int = 1
) -> Iterator[Convergence]:
    """Yield the convergence of a block from the state x, for each scheme.

    The exact solution is computed by RK4 with very short steps.
    """
    block = copy.deepcopy(block).double().eval()
    x = x.double()

    def solution(scheme: Scheme, n_time_steps: int) -> Tensor:
        block.set_manifestation(scheme, n_time_steps)
        with torch.no_grad():
            return block(x)

    n_time_steps = _numbers_of_steps(block)
    exact = solution(SCHEMES["rk4_classic"], 4 * n_time_steps[-1])
    for scheme in schemes:
        errors = [_relative_error(solution(scheme, n), exact) for n in n_time_steps]
        slope, start = asymptotic_slope(n_time_steps, errors)
        yield Convergence(number, scheme.name, scheme.order, n_time_steps, errors, slope, start)


def _numbers_of_steps(block: ODEBlock) -> list[int]:
    """Return numbers of steps that divide the elements of theta, each twice the one before."""
    n_time_steps = [block.basis.n_elements]
    while n_time_steps[-1] < FINEST or len(n_time_steps) < FEWEST_POINTS:
        n_time_steps.append(2 * n_time_steps[-1])
    return n_time_steps


def asymptotic_slope(
    n_time_steps: Sequence[int], errors: Sequence[float]
) -> tuple[float | None, int | None]:
    """Return the observed order and the number of steps where the asymptotic range begins.

    The observed order is minus the slope of log(error) against log(n_time_steps). Both are None
    where there is no such range.
    """
    usable = [
        (n, e) for n, e in zip(n_time_steps, errors, strict=True) if np.isfinite(e) and e > ROUNDING
    ]
    points = np.log2(np.array(usable, dtype=float).reshape(-1, 2))
    local = [-(e1 - e0) / (n1 - n0) for (n0, e0), (n1, e1) in pairwise(points)]
    for start in range(len(local) - 1):
        if max(local[start:]) - min(local[start:]) <= STRAIGHT:
            fit: Any = np.polyfit(points[start:, 0], points[start:, 1], deg=1)
            return -float(fit[0]), usable[start][0]
    return None, None


def _relative_error(x: Tensor, exact: Tensor) -> float:
    return (torch.linalg.vector_norm(x - exact) / torch.linalg.vector_norm(exact)).item()
