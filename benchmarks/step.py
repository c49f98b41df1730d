"""A training step: contnet, a ResNet of equal arithmetic, and contnet integrated by torchdiffeq.

    python -m benchmarks.step

Fast sides are as train.py runs them: bf16, channels last, compiled, with a heap that keeps freed
memory. Plain sides are as users run torchdiffeq: float32, channels first, eager. Every side has a
process of its own, and the sides take turns.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from benchmarks.measure import OwnProcess, TrainingStep, in_turns, parser, ratio, shown, write
from contnet import ContinuousNet, ResNet
from contnet.commands.memory import keep_freed_memory
from contnet.ode.block import ODEBlock
from contnet.ode.depth_time import depth_time
from contnet.training.compilation import how_to_compile

STEPS_A_TURN = 4
FAST = ("resnet", "our_euler", "our_rk4")
PLAIN = ("stock_euler", "our_euler", "stock_rk4", "our_rk4")


class StockBlock(nn.Module):
    """An ODE block of piecewise constants as users of torchdiffeq write it.

    Each evaluation of the rate looks up the interval of theta(t).
    """

    def __init__(self, block: ODEBlock, method: str) -> None:
        super().__init__()
        self.nodes = block.nodes
        self.epsilon = block.epsilon
        self.method = method
        self.options = {"step_size": 1 / block.n_time_steps, "perturb": True}

    def rate(self, t: Tensor, x: Tensor) -> Tensor:
        node = min(int(t * len(self.nodes)), len(self.nodes) - 1)
        return self.epsilon * self.nodes[node](x)

    def forward(self, x: Tensor) -> Tensor:
        t = torch.tensor([0.0, 1.0], device=x.device)
        states: Any = odeint(self.rate, x, t, method=self.method, options=self.options)
        return states[-1]


def stock(scheme: str) -> ContinuousNet:
    """Return a ContinuousNet that torchdiffeq integrates."""
    network = ContinuousNet(initial_time_d=2, scheme=scheme)
    depth = depth_time(network)
    blocks = depth.blocks if depth else ()
    network.blocks = nn.ModuleList(StockBlock(block, scheme) for block in blocks)
    return network


def network(name: str) -> nn.Module:
    if name == "resnet":
        return ResNet(depth=20)
    integrated, scheme = name.split("_")
    return (
        stock(scheme) if integrated == "stock" else ContinuousNet(initial_time_d=2, scheme=scheme)
    )


def fast(name: str, device: str) -> Callable[[], None]:
    keep_freed_memory()
    made = network(name)
    step = TrainingStep(made, device=device)
    made.compile(**how_to_compile(made, torch.device(device)))
    return partial(several, step)


def plain(name: str, device: str) -> Callable[[], None]:
    return partial(
        several,
        TrainingStep(network(name), precision=torch.float32, channels_last=False, device=device),
    )


def several(step: TrainingStep) -> None:
    """Take several steps: the first one finds the caches full of another side's data."""
    for _ in range(STEPS_A_TURN):
        step()


def main() -> None:
    options = parser(__doc__, "step", rounds=15).parse_args()
    device = options.device
    sides = {name: OwnProcess(fast, name, device, device=device) for name in FAST}
    sides |= {f"plain {name}": OwnProcess(plain, name, device, device=device) for name in PLAIN}
    work = {name: TrainingStep(network(name), device=device).flops() for name in FAST}
    seconds = in_turns(sides, options.rounds)
    found = {
        "euler_over_resnet": ratio(seconds["our_euler"], seconds["resnet"]),
        "rk4_over_euler": ratio(seconds["our_rk4"], seconds["our_euler"]),
        "stock_over_fast_euler": ratio(seconds["plain stock_euler"], seconds["our_euler"]),
        "stock_over_fast_rk4": ratio(seconds["plain stock_rk4"], seconds["our_rk4"]),
        "stock_over_plain_euler": ratio(seconds["plain stock_euler"], seconds["plain our_euler"]),
        "stock_over_plain_rk4": ratio(seconds["plain stock_rk4"], seconds["plain our_rk4"]),
    }
    medians = {name: statistics.median(values) / STEPS_A_TURN for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:17} {1e3 * median:7.1f} ms a step")
    arithmetic = work["our_rk4"] / work["our_euler"]
    for line, key in (
        ("Euler over ResNet-20, compiled", "euler_over_resnet"),
        ("RK4 over Euler, compiled", "rk4_over_euler"),
        ("torchdiffeq, plain, over contnet, fast, Euler", "stock_over_fast_euler"),
        ("torchdiffeq, plain, over contnet, fast, RK4", "stock_over_fast_rk4"),
        ("torchdiffeq over contnet, both plain, Euler", "stock_over_plain_euler"),
        ("torchdiffeq over contnet, both plain, RK4", "stock_over_plain_rk4"),
    ):
        print(f"{line + ':':46} {shown(found[key])}")
    print(f"{'arithmetic of RK4 over Euler:':46} {arithmetic:.3f}")
    result = {"seconds": medians, "arithmetic_rk4_over_euler": arithmetic, **found}
    write(options.json, result, device)


if __name__ == "__main__":
    main()
