"""Is the trained block an integrator? The distance of its x(1) to the exact one, as the steps grow shorter.

Accuracy alone does not tell: logits can be far off and the class still right. The states are compared here, in
float64, and with steps that divide the intervals of theta, where a scheme of order p has an error of h^p if the rate is
smooth. A ReLU is not: where a state crosses a kink within a step, the error is one of order 2, whatever the scheme.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from contnet.ode.block import ODEBlock
from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import SCHEMES, Scheme

N_SAMPLE = 16
FINEST = 64
FEWEST_POINTS = 4
ROUNDING = 1e-12
STRAIGHT = 0.15
"""Local slopes that differ by no more than this lie on one straight line."""


@dataclass(frozen=True)
class Convergence:
    """Relative error of an ODE block's x(1), per scheme.

    `slope` is fitted over the asymptotic range, the finest steps on which the local slopes agree, which begins at
    `asymptotic_from` steps; both are None where there is no such range. Errors of rounding size are left out of it.
    """

    block: int
    scheme: str
    order: int
    n_time_steps: list[int]
    errors: list[float]
    slope: float | None
    asymptotic_from: int | None


def network_convergence(
    network: nn.Module, images: Tensor, schemes: Sequence[str]
) -> list[Convergence]:
    """The convergence of every ODE block, on the states which `images` bring to it in the network's manifestation."""
    network = copy.deepcopy(network).double().eval()
    states: list[Tensor] = []
    depth = depth_time(network)
    blocks = depth.blocks if depth else ()

    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        states.append(arguments[0])

    hooks = [block.register_forward_pre_hook(keep) for block in blocks]
    with torch.no_grad():
        network(images.double())
    for hook in hooks:
        hook.remove()
    return [
        found
        for number, (block, x) in enumerate(zip(blocks, states, strict=True), start=1)
        for found in block_convergence(
            block, x, [SCHEMES[name] for name in schemes if name in SCHEMES], number
        )
    ]


def block_convergence(
    block: ODEBlock, x: Tensor, schemes: Sequence[Scheme], number: int = 1
) -> Iterator[Convergence]:
    """The convergence of one block from the state x, in float64, towards RK4 with very short steps."""
    block = copy.deepcopy(block).double().eval()
    x = x.double()

    def solution(scheme: Scheme, n_time_steps: int) -> Tensor:
        block.set_manifestation(scheme, n_time_steps)
        with torch.no_grad():
            return block(x)

    # Steps that divide the intervals, doubled until they are fine enough.
    n_time_steps = [block.basis.n_elements]
    while n_time_steps[-1] < FINEST or len(n_time_steps) < FEWEST_POINTS:
        n_time_steps.append(2 * n_time_steps[-1])
    reference = solution(SCHEMES["rk4_classic"], 4 * n_time_steps[-1])
    for scheme in schemes:
        errors = [_relative_error(solution(scheme, n), reference) for n in n_time_steps]
        slope, start = asymptotic_slope(n_time_steps, errors)
        yield Convergence(number, scheme.name, scheme.order, n_time_steps, errors, slope, start)


def asymptotic_slope(
    n_time_steps: Sequence[int], errors: Sequence[float]
) -> tuple[float | None, int | None]:
    """Minus the slope of log(error) against log(n) over the asymptotic range, and where that begins."""
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


def _relative_error(x: Tensor, reference: Tensor) -> float:
    return (torch.linalg.vector_norm(x - reference) / torch.linalg.vector_norm(reference)).item()
