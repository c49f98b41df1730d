"""What refinement saves: time to train 1-1-1 -> 8-8-8, refined at epochs 30, 50, 70 of 120, over 8-8-8 throughout.

    python -m benchmarks.refinement

The time of a training step is measured at every depth, the depths taking turns, and put together by the schedule;
beside it stands the same ratio of floating-point operations, which is what the arithmetic alone allows.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from contnet import ContinuousNet

DEPTHS = (1, 2, 4, 8)
EPOCHS = {1: 30, 2: 20, 4: 20, 8: 50}  # of 120, refined at 30, 50, 70


class Step:
    """A training step of the network of the seed's row, refined to `depth`, on images of CIFAR's shape."""

    def __init__(self, depth: int, scheme: str, batch_size: int, precision: torch.dtype, device: str) -> None:
        network = ContinuousNet(scheme=scheme)
        while network.n_basis < depth:
            network.refine()
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.images = torch.randn(batch_size, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
        self.labels = torch.randint(0, 10, (batch_size,), device=device)
        self.precision = precision
        self.device = device

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        enabled = self.precision != torch.float32
        with torch.autocast(torch.device(self.device).type, self.precision, enabled=enabled):
            loss = nn.functional.cross_entropy(self.network(self.images), self.labels)
        loss.backward()
        self.optimizer.step()

    def seconds(self) -> float:
        """Wall time of one step."""
        start = time.perf_counter()
        self()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def flops(self) -> int:
        """Floating-point operations of forward and backward."""
        with FlopCounterMode(display=False) as counter:
            self()
        return counter.get_total_flops()


def saved(cost: dict[int, float]) -> float:
    """Cost of the refined run over that of the deepest network throughout."""
    return sum(EPOCHS[depth] * cost[depth] for depth in DEPTHS) / (sum(EPOCHS.values()) * cost[DEPTHS[-1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="steps timed at each depth")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--scheme", default="rk4_classic")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/refinement.json"))
    options = parser.parse_args()

    precision = getattr(torch, options.precision)
    steps = {d: Step(d, options.scheme, options.batch_size, precision, options.device) for d in DEPTHS}
    flops = {depth: step.flops() for depth, step in steps.items()}
    seconds: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    for turn in range(options.rounds + 2):
        for depth, step in steps.items():
            elapsed = step.seconds()
            if turn >= 2:  # the first turns warm up
                seconds[depth].append(elapsed)
    medians = {depth: statistics.median(values) for depth, values in seconds.items()}
    ratios = [saved({depth: seconds[depth][i] for depth in DEPTHS}) for i in range(options.rounds)]
    ratio, (low, _, high) = saved(medians), statistics.quantiles(ratios, n=4)
    bound = saved({depth: float(n) for depth, n in flops.items()})
    result = {
        "ratio": ratio,
        "ratio_quartiles": [low, high],
        "arithmetic_bound": bound,
        "steps_per_second": {depth: 1 / median for depth, median in medians.items()},
        "gflop_per_step": {depth: n / 1e9 for depth, n in flops.items()},
        "settings": {key: str(value) for key, value in vars(options).items()},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")

    for depth in DEPTHS:
        print(f"depth {depth}: {1 / medians[depth]:6.2f} steps/s  {flops[depth] / 1e9:7.1f} GFLOP a step")
    print(f"refined over 8-8-8 throughout: {ratio:.3f} of the time (quartiles {low:.3f} to {high:.3f})")
    print(f"arithmetic alone:              {bound:.3f}")
    print(f"{result['machine']}; written to {options.json}")


if __name__ == "__main__":
    main()
