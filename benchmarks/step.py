"""A training step: contnet, a plain ResNet of equal arithmetic, and the same network integrated by stock torchdiffeq.

    python -m benchmarks.step

As fast as each goes: bf16, channels last and, for contnet and ResNet, compiled. As torchdiffeq's users run it: float32,
NCHW, eager; contnet in that setting, too. The sides of a comparison take turns.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from benchmarks.measure import TrainingStep, in_turns, parser, ratio, shown, write
from contnet import ContinuousNet, ResNet
from contnet.ode_block import ODEBlock

TORCHDIFFEQ = {"euler": "euler", "midpoint": "midpoint", "rk4": "rk4"}


class StockBlock(nn.Module):
    """An ODE block as one writes it with torchdiffeq: the interval of theta is looked up at each evaluation."""

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
    """A ContinuousNet that leaves the integration to torchdiffeq."""
    network = ContinuousNet(initial_time_d=2, scheme=scheme)
    network.blocks = nn.ModuleList(StockBlock(block, TORCHDIFFEQ[scheme]) for block in network.ode_blocks)
    return network


def compiled(network: nn.Module) -> nn.Module:
    network.compile()
    return network


def main() -> None:
    options = parser(__doc__, "step", rounds=15).parse_args()
    device = options.device

    def euler() -> ContinuousNet:
        return ContinuousNet(initial_time_d=2)

    def rk4() -> ContinuousNet:
        return ContinuousNet(initial_time_d=2, scheme="rk4")

    as_users = {"precision": torch.float32, "channels_last": False, "device": device}
    fast = {
        "resnet": TrainingStep(compiled(ResNet(depth=20)), device=device),
        "euler": TrainingStep(compiled(euler()), device=device),
        "rk4": TrainingStep(compiled(rk4()), device=device),
    }
    plain = {
        "stock_euler": TrainingStep(stock("euler"), **as_users),
        "plain_euler": TrainingStep(euler(), **as_users),
        "stock_rk4": TrainingStep(stock("rk4"), **as_users),
        "plain_rk4": TrainingStep(rk4(), **as_users),
    }
    work = {name: TrainingStep(make(), device=device).flops() for name, make in (("euler", euler), ("rk4", rk4))}
    seconds = in_turns({**fast, **plain}, options.rounds, device)
    found = {
        "euler_over_resnet": ratio(seconds["euler"], seconds["resnet"]),
        "rk4_over_euler": ratio(seconds["rk4"], seconds["euler"]),
        "stock_over_fast_euler": ratio(seconds["stock_euler"], seconds["euler"]),
        "stock_over_fast_rk4": ratio(seconds["stock_rk4"], seconds["rk4"]),
        "stock_over_plain_euler": ratio(seconds["stock_euler"], seconds["plain_euler"]),
        "stock_over_plain_rk4": ratio(seconds["stock_rk4"], seconds["plain_rk4"]),
    }
    medians = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:12} {1e3 * median:7.1f} ms a step")
    arithmetic = work["rk4"] / work["euler"]
    print(f"Euler over ResNet-20, compiled:           {shown(found['euler_over_resnet'])}")
    print(f"RK4 over Euler, compiled:                 {shown(found['rk4_over_euler'])}; arithmetic {arithmetic:.2f}")
    print(f"torchdiffeq as its users run it, Euler:   {shown(found['stock_over_fast_euler'])} times contnet's time")
    print(f"torchdiffeq as its users run it, RK4:     {shown(found['stock_over_fast_rk4'])} times")
    print(f"torchdiffeq, everything else equal, Euler: {shown(found['stock_over_plain_euler'])} times")
    print(f"torchdiffeq, everything else equal, RK4:  {shown(found['stock_over_plain_rk4'])} times")
    write(options.json, {"milliseconds": medians, "arithmetic_rk4_over_euler": arithmetic, **found}, device)


if __name__ == "__main__":
    main()
