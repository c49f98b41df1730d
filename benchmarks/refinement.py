"""The time that refinement saves: training 1-1-1 -> 8-8-8 over training 8-8-8 throughout.

    python -m benchmarks.refinement

The schedule refines at epochs 30, 50 and 70 of 120. The time of a training step is measured at
every depth, and weighted by the epochs at that depth. The ratio of floating-point operations
is printed as well: the arithmetic alone takes that share.
"""

import statistics

import torch

from benchmarks.measure import TrainingStep, in_turns, parser, write
from contnet import ContinuousNet

DEPTHS = (1, 2, 4, 8)
EPOCHS = {1: 30, 2: 20, 4: 20, 8: 50}  # of 120, refined at 30, 50, 70


def refined(depth: int, scheme: str) -> ContinuousNet:
    """Return the network of one node a block, refined to `depth` nodes."""
    network = ContinuousNet(scheme=scheme)
    for _ in range(DEPTHS.index(depth)):
        network.refine()
    return network


def saved(cost: dict[int, float]) -> float:
    """Return the cost of the refined run over that of the deepest network throughout."""
    return sum(EPOCHS[depth] * cost[depth] for depth in DEPTHS) / (
        sum(EPOCHS.values()) * cost[DEPTHS[-1]]
    )


def main() -> None:
    made = parser(__doc__, "refinement", rounds=15)
    made.add_argument("--batch-size", type=int, default=128)
    made.add_argument("--scheme", default="rk4_classic")
    made.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    options = made.parse_args()

    settings = {"batch_size": options.batch_size, "precision": getattr(torch, options.precision)}
    steps = {
        d: TrainingStep(refined(d, options.scheme), device=options.device, **settings)
        for d in DEPTHS
    }
    flops = {depth: step.flops() for depth, step in steps.items()}
    seconds = in_turns(
        {str(depth): step for depth, step in steps.items()}, options.rounds, options.device
    )
    medians = {depth: statistics.median(seconds[str(depth)]) for depth in DEPTHS}
    ratios = [
        saved({depth: seconds[str(depth)][i] for depth in DEPTHS}) for i in range(options.rounds)
    ]
    ratio = saved(medians)
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else 3 * ratios
    bound = saved({depth: float(n) for depth, n in flops.items()})
    result = {
        "ratio": ratio,
        "ratio_quartiles": [low, high],
        "arithmetic_bound": bound,
        "steps_per_second": {depth: 1 / median for depth, median in medians.items()},
        "gflop_per_step": {depth: n / 1e9 for depth, n in flops.items()},
        "settings": {key: str(value) for key, value in vars(options).items()},
    }
    for depth in DEPTHS:
        speed, arithmetic = 1 / medians[depth], flops[depth] / 1e9
        print(f"depth {depth}: {speed:6.2f} steps/s  {arithmetic:7.1f} GFLOP a step")
    quartiles = f"(quartiles {low:.3f} to {high:.3f})"
    print(f"refined over 8-8-8 throughout: {ratio:.3f} of the time {quartiles}")
    print(f"arithmetic alone:              {bound:.3f}")
    write(options.json, result, options.device)


if __name__ == "__main__":
    main()
