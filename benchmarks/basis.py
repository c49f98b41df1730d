"""The cost of a smooth theta(t): a training step in each basis over one in piecewise constants.

    python -m benchmarks.basis

Every basis has the same number of nodes.
"""

import statistics
from functools import partial

import torch

from benchmarks.measure import OwnProcess, TrainingStep, in_turns, parser, ratio, shown, write
from contnet import ContinuousNet
from contnet.commands.memory import keep_freed_memory
from contnet.ode.bases import BASES
from contnet.training.compilation import how_to_compile


def training_step(basis: str, depth: int, scheme: str, compiled: bool, device: str) -> TrainingStep:
    keep_freed_memory()
    network = ContinuousNet(initial_time_d=depth, scheme=scheme, basis=basis)
    step = TrainingStep(network, device=device)
    if compiled:
        network.compile(**how_to_compile(network, torch.device(device)))
    return step


def main() -> None:
    made = parser(__doc__, "basis", rounds=15)
    made.add_argument("--depth", type=int, default=8)
    made.add_argument("--scheme", default="euler")
    options = made.parse_args()
    result = {}
    for name, compiled in (("eager", False), ("compiled", True)):
        make = partial(
            training_step,
            depth=options.depth,
            scheme=options.scheme,
            compiled=compiled,
            device=options.device,
        )
        sides = {basis: OwnProcess(make, basis, device=options.device) for basis in BASES}
        seconds = in_turns(sides, options.rounds, warm_up=3)
        for basis, values in seconds.items():
            found = {
                "seconds": statistics.median(values),
                **ratio(values, seconds["piecewise_constant"]),
            }
            milliseconds = f"{1e3 * found['seconds']:7.1f} ms a step"
            print(f"{name:8} {basis:18} {milliseconds}, over piecewise constants {shown(found)}")
            result[f"{name} {basis}"] = found
    write(options.json, result, options.device)


if __name__ == "__main__":
    main()
