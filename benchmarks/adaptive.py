"""The speed of the adaptive schemes, over fixed steps and over other libraries.

    python -m benchmarks.adaptive

All solve with rtol = atol = 1e-3, eager, and take their time for a forward pass alone, and for a
forward and backward pass.

per_evaluation  the time of a rate evaluation in dopri5 and tsit5, over that of rk4_classic in four
                steps, in a whole network
torchdiffeq     torchdiffeq/dopri5 over dopri5, the whole solve in the same network: float32, and
                under bfloat16 autocast, with an eighth of the images
libraries       torchode and diffrax over dopri5, in one residual unit of 16 channels in evaluation
                mode, if they are installed; torchode is compiled by TorchScript, diffrax is jitted
options         control=image over batch, and gradient=checkpoint over backprop, in the same unit
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import in_turns, parser, ratio, shown, write
from benchmarks.peers import installed
from benchmarks.unit import (
    CHANNELS,
    PASSES,
    TOLERANCE,
    Solve,
    WithTorchode,
    diffrax_passes,
    training,
    unit,
)
from contnet import ContinuousNet, ODEBlock

Ratios = dict[str, Any]


def network(scheme: str, alpha: int, device: str) -> ContinuousNet:
    """Return a network of the same weights for each scheme."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"n_time_steps_per": 2}
    if scheme != "rk4_classic":
        options = {"rtol": TOLERANCE, "atol": TOLERANCE}
    return ContinuousNet(alpha=alpha, initial_time_d=2, scheme=scheme, **options).to(device)


def autocast(solve: Solve, device: str, enabled: bool) -> Solve:
    """Return a solver under bfloat16 autocast."""

    def run(x: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=enabled):
            return solve(x)

    return run


def report(what: str, found: Mapping[str, Any]) -> None:
    evaluations = ", ".join(f"{name} {n}" for name, n in found["evaluations"].items())
    for name, over in found["ratios"].items():
        print(f"{what}, {name}: {shown(over)}   [evaluations: {evaluations}]", flush=True)


def per_evaluation(x: Tensor, rounds: int, alpha: int, device: str) -> Ratios:
    """Compare the time of an evaluation with that of RK4."""
    found = {}
    nets = {name: network(name, alpha, device) for name in ("rk4_classic", "dopri5", "tsit5")}
    for name, make in PASSES.items():
        sides = {scheme: make(net, x) for scheme, net in nets.items()}
        seconds = in_turns(sides, rounds, device, warm_up=1)
        n = {scheme: net.n_f_evals for scheme, net in nets.items()}
        each = {scheme: [s / n[scheme] for s in values] for scheme, values in seconds.items()}
        ratios = {f"{s} over RK4": ratio(each[s], each["rk4_classic"]) for s in ("dopri5", "tsit5")}
        found[name] = {"ratios": ratios, "evaluations": n}
        report(f"per evaluation, {name}", found[name])
    return found


def over_torchdiffeq(x: Tensor, rounds: int, alpha: int, device: str) -> Ratios:
    """Compare the whole solve with that of torchdiffeq, in both precisions."""
    found = {}
    nets = {name: network(name, alpha, device) for name in ("dopri5", "torchdiffeq/dopri5")}
    for precision, images in (("float32", x), ("bfloat16", x[: max(1, len(x) // 8)])):
        for name, make in PASSES.items():
            sides = {
                scheme: make(autocast(net, device, precision == "bfloat16"), images)
                for scheme, net in nets.items()
            }
            seconds = in_turns(sides, rounds, device, warm_up=1)
            over = ratio(seconds["torchdiffeq/dopri5"], seconds["dopri5"])
            n = {scheme: net.n_f_evals for scheme, net in nets.items()}
            found[f"{precision}_{name}"] = {"ratios": {"whole solve": over}, "evaluations": n}
            report(f"torchdiffeq over contnet, {precision}, {name}", found[f"{precision}_{name}"])
    return found


def block(device: str, **options: Any) -> ODEBlock:
    """Return a block of one residual unit with batch norms that use their running statistics."""
    made = ODEBlock(unit, scheme="dopri5", rtol=TOLERANCE, atol=TOLERANCE, **options)
    return made.to(device).eval()


def over_libraries(x: Tensor, rounds: int, device: str, libraries: Collection[str]) -> Ratios:
    """Compare the whole solve with torchode and diffrax, in one residual unit."""
    ours = block(device)
    rate, found = ours.nodes[0], {}
    expected = ours(x).detach()
    others: dict[str, dict[str, Callable[[], None]]] = {}
    n, distance = {"contnet": ours.n_f_evals}, {}
    if "torchode" in libraries:
        solve = WithTorchode(rate, x)
        distance["torchode"] = float((solve(x).detach() - expected).norm() / expected.norm())
        others["torchode"] = {name: make(solve, x) for name, make in PASSES.items()}
        n["torchode"] = solve.n_f_evals
    if "diffrax" in libraries:
        others["diffrax"], result, n["diffrax"] = diffrax_passes(rate, x)
        distance["diffrax"] = float((result - expected.cpu()).norm() / expected.cpu().norm())
    for name, make in PASSES.items() if others else ():
        sides = {"contnet": make(ours, x), **{k: made[name] for k, made in others.items()}}
        seconds = in_turns(sides, rounds, device, warm_up=1)
        ratios = {f"{k} over contnet": ratio(seconds[k], seconds["contnet"]) for k in others}
        found[name] = {"ratios": ratios, "evaluations": n, "distance": distance}
        report(f"one unit, {name}", found[name])
    return found


def over_options(x: Tensor, rounds: int, device: str) -> Ratios:
    """Compare control=image with batch, and gradient=checkpoint with backprop, in training."""
    blocks = {
        "plain": block(device),
        "control=image": block(device, control="image"),
        "checkpoint": block(device, gradient="checkpoint"),
    }
    seconds = in_turns({k: training(b, x) for k, b in blocks.items()}, rounds, device, warm_up=1)
    ratios = {k: ratio(seconds[k], seconds["plain"]) for k in blocks if k != "plain"}
    found = {"ratios": ratios, "evaluations": {k: b.n_f_evals for k, b in blocks.items()}}
    report("one unit, training, over plain", found)
    return {"training": found}


def main() -> None:
    made = parser(__doc__, "adaptive", rounds=3)
    made.add_argument("--batch-size", type=int, default=256, help="images of the network")
    made.add_argument("--unit-batch-size", type=int, default=64, help="images of the unit")
    made.add_argument("--alpha", type=int, default=16, help="channels of the first segment")
    options = made.parse_args()
    libraries = installed()
    device, rounds = options.device, options.rounds
    torch.manual_seed(0)
    images = torch.randn(options.batch_size, 3, 32, 32, device=device)
    state = torch.randn(options.unit_batch_size, CHANNELS, 32, 32, device=device)
    result = {
        "libraries": over_libraries(state, rounds, device, libraries),
        "options": over_options(state, rounds, device),
        "per_evaluation": per_evaluation(images, rounds, options.alpha, device),
        "torchdiffeq": over_torchdiffeq(images, rounds, options.alpha, device),
        "batch_sizes": {"network": len(images), "unit": len(state)},
        "peers": libraries,
    }
    write(options.json, result, device)


if __name__ == "__main__":
    main()
