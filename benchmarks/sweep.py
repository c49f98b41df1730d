"""The cost of a sweep over its rate evaluations: 4 schemes x 6 step counts, 10,000 images, K = 2.

    python -m benchmarks.sweep

A bare loop runs the network as trained, with Euler's method, on batches that are already
normalised. The sweep is compared with the loop's time for each rate evaluation of an image, times
the evaluations of the whole sweep. The sweep pays for normalisation, scores and the count of
operations as well. It saves on stem, stitches and head, which many steps share.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import parser, write
from contnet import ContinuousNet
from contnet.data.normalise import Normalise
from contnet.invariance.outcome import Batches
from contnet.invariance.plan import Plan
from contnet.invariance.store import Store
from contnet.invariance.study import study
from contnet.invariance.subject import Conditions, Subject

SCHEMES = ("euler", "midpoint", "rk4", "rk4_classic")
N_TIME_STEPS = (1, 2, 3, 4, 8, 16)
BATCH_SIZE = 256


class BareLoop:
    """The network as trained, on normalised images in precision `precision`."""

    def __init__(self, images: Tensor, precision: Callable[[], AbstractContextManager]) -> None:
        self.network = network(images.device)
        self.images = images
        self.precision = precision
        self.seconds: list[float] = []

    def warm_up(self) -> None:
        self._run(self.images[: 2 * BATCH_SIZE])

    def take_turn(self, line: str) -> None:
        """Print a line of the sweep's progress; after some lines, measure a pass of all images."""
        print(line, flush=True)
        if " 1 step" in line or "16 steps" in line:
            start = time.perf_counter()
            self._run(self.images)
            self.seconds.append(time.perf_counter() - start)

    def _run(self, images: Tensor) -> None:
        with torch.inference_mode(), self.precision():
            for batch in images.split(BATCH_SIZE):
                self.network(batch)


def network(device: torch.device) -> ContinuousNet:
    made = ContinuousNet(initial_time_d=2).to(device)
    return made.to(memory_format=torch.channels_last).eval()


def main() -> None:
    made = parser(__doc__, "sweep")
    made.add_argument("--images", type=int, default=10_000)
    arguments = made.parse_args()
    n_images, device = arguments.images, torch.device(arguments.device)
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (n_images, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 10, (n_images,), device=device)
    normalise = Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)).to(device)
    precision = partial(torch.autocast, device.type, torch.bfloat16)
    loader = list(zip(pixels.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True))
    subject = Subject(
        name="random weights",
        network=network(device),
        classes=[str(i) for i in range(10)],
        conditions=Conditions(
            test=Batches(loader, normalise, device),
            sample=normalise(pixels[:1]),
            training_images=list,
            precision=precision,
        ),
        identity="",
    )
    bare = BareLoop(normalise(pixels), precision)
    bare.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        plan = Plan(SCHEMES, N_TIME_STEPS, convergence=False)
        found = study(subject, plan, Store(Path(folder)), bare.take_turn)
        sweep_seconds = time.perf_counter() - start - sum(bare.seconds)
    n_f_evals = sum(result.n_f_evals for result in found.results)
    write(arguments.json, report(bare, sweep_seconds, n_f_evals), arguments.device)


def report(bare: BareLoop, sweep_seconds: float, n_f_evals: int) -> dict[str, Any]:
    """Compare a sweep of `n_f_evals` rate evaluations with the bare loop, and print it."""
    n_images = len(bare.images)
    microseconds = [1e6 * s / (bare.network.n_f_evals * n_images) for s in bare.seconds]
    unit = statistics.median(microseconds)
    ratio = 1e6 * sweep_seconds / (n_f_evals * n_images * unit)
    print(f"sweep of {n_f_evals} rate evaluations an image: {sweep_seconds:.1f} s")
    print(f"bare loop: {unit:.1f} us an evaluation ({len(microseconds)} times)")
    print(f"sweep over the sum of its rate evaluations: {ratio:.3f} (target: at most 1.15)")
    return {
        "sweep_seconds": sweep_seconds,
        "n_f_evals": n_f_evals,
        "n_images": n_images,
        "plain_microseconds_per_evaluation": unit,
        "spread": [min(microseconds), max(microseconds)],
        "ratio": ratio,
    }


if __name__ == "__main__":
    main()
