"""Training in many manifestations: the price of switching between them.

    python -m benchmarks.manifestations

Every side takes one training step in each of twelve manifestations: Euler's method, the midpoint
rule and RK4 in 1, 2, 4 and 8 steps. One network goes through them all. Beside it, twelve networks
that never switch take the same steps: what is slower is the price of switching. The eager sides are
compared with one that is compiled as train.py compiles it.
"""

import statistics
import time
from functools import partial

import torch

from benchmarks.measure import TrainingStep, in_turns, parser, ratio, shown, write
from contnet import SCHEMES, ContinuousNet
from contnet.ode.depth_time import depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.statistics import provide
from contnet.training.compilation import compile_network

SET = [
    Manifestation(SCHEMES[scheme], n)
    for scheme in ("euler", "midpoint", "rk4_classic")
    for n in (1, 2, 4, 8)
]


def network(alpha: int) -> ContinuousNet:
    made = ContinuousNet(alpha=alpha, initial_time_d=2)
    provide(made, SET)
    return made


def steps_of_one(step: TrainingStep) -> None:
    depth = depth_time(step.network)
    assert depth is not None
    for manifestation in SET:
        with depth.manifested(manifestation):
            step()


def steps_of_many(steps: list[TrainingStep]) -> None:
    for step in steps:
        step()


def seconds_of_a_switch(made: ContinuousNet, rounds: int) -> float:
    """Return the median seconds of `set_manifestation` on a network in evaluation mode."""
    made.eval()
    seconds = []
    for _ in range(rounds):
        for one in SET:
            start = time.perf_counter()
            made.set_manifestation(one.scheme, one.n_time_steps)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    arguments = parser(__doc__, "manifestations", rounds=7)
    arguments.add_argument("--alpha", type=int, default=16, help="channels of the first segment")
    options = arguments.parse_args()
    device = options.device
    make = partial(TrainingStep, precision=torch.float32, device=device)
    compiled = network(options.alpha)
    compile_network(compiled, torch.device(device), 1, in_parts=True)
    alone = [network(options.alpha) for _ in SET]
    for made, one in zip(alone, SET, strict=True):
        made.set_manifestation(one.scheme, one.n_time_steps)
    sides = {
        "one network": partial(steps_of_one, make(network(options.alpha))),
        "twelve networks": partial(steps_of_many, [make(made) for made in alone]),
        "one, compiled": partial(steps_of_one, make(compiled)),
    }
    seconds = in_turns(sides, options.rounds, device)
    found = {
        "switching": ratio(seconds["one network"], seconds["twelve networks"]),
        "compiled": ratio(seconds["one, compiled"], seconds["one network"]),
    }
    switch = seconds_of_a_switch(network(options.alpha).to(device), rounds=50)
    for name, values in seconds.items():
        print(f"{name:16} {1e3 * statistics.median(values) / len(SET):7.1f} ms a step")
    print(f"one network over twelve:      {shown(found['switching'])}")
    print(f"compiled over eager:          {shown(found['compiled'])}")
    print(f"set_manifestation:            {1e6 * switch:.0f} microseconds")
    write(options.json, {**found, "switch_seconds": switch, "alpha": options.alpha}, device)


if __name__ == "__main__":
    main()
