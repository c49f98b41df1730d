"""What a sweep costs beside its rate evaluations: 4 schemes x 6 numbers of steps over 10,000 images, K = 2.

    python -m benchmarks.sweep

The plain way is the network alone, as trained with Euler's method, on batches that are already normalised. Its time
for each rate evaluation of an image, times the evaluations of the whole sweep, is what the sweep may cost; the sweep
pays for normalisation, scores and the count of operations on top, and saves on stem, stitches and head where many steps
share them.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure import parser, write
from contnet import ContinuousNet
from contnet.data.normalise import Normalise
from contnet.invariance.outcome import Batches
from contnet.invariance.store import Store
from contnet.invariance.study import Plan, Subject, study

SCHEMES = ("euler", "midpoint", "rk4", "rk4_classic")
N_TIME_STEPS = (1, 2, 3, 4, 8, 16)
BATCH_SIZE = 256


def seconds_per_evaluation(network: ContinuousNet, images: list[Tensor], n_images: int) -> float:
    """Time of a rate evaluation of one image, everything else of the network included."""
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in images:
            network(batch)
    return (time.perf_counter() - start) / (network.n_f_evals * n_images)


def main() -> None:
    made = parser(__doc__, "sweep")
    made.add_argument("--images", type=int, default=10_000)
    arguments = made.parse_args()
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (arguments.images, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 10, (arguments.images,), device=device)
    normalise = Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)).to(device)
    network = (
        ContinuousNet(initial_time_d=2).to(device).to(memory_format=torch.channels_last).eval()
    )
    precision = partial(torch.autocast, device.type, torch.bfloat16)
    loader = list(zip(pixels.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True))
    subject = Subject(
        name="random weights",
        network=network,
        classes=[str(i) for i in range(10)],
        test=Batches(loader, normalise, device),
        few=normalise(pixels[:1]),
        training_images=list,
        precision=precision,
        identity="",
    )
    plain = [normalise(images) for images in pixels.split(BATCH_SIZE)]
    plan = Plan(SCHEMES, N_TIME_STEPS, convergence=False)
    per_evaluation = []

    def between(line: str) -> None:
        print(line, flush=True)
        if " 1 step" in line or "16 steps" in line:  # the two sides take turns
            with precision():
                per_evaluation.append(
                    seconds_per_evaluation(network_as_trained, plain, arguments.images)
                )

    network_as_trained = (
        ContinuousNet(initial_time_d=2).to(device).to(memory_format=torch.channels_last).eval()
    )
    with precision():
        seconds_per_evaluation(network_as_trained, plain[:2], 2 * BATCH_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = study(subject, plan, Store(Path(folder)), between)
        whole = time.perf_counter() - start
    unit = statistics.median(per_evaluation)
    swept = whole - sum(per_evaluation) * network_as_trained.n_f_evals * arguments.images
    n_f_evals = sum(result.n_f_evals for result in found.results)
    ratio = swept / (n_f_evals * arguments.images * unit)
    result = {
        "sweep_seconds": swept,
        "n_f_evals": n_f_evals,
        "n_images": arguments.images,
        "plain_microseconds_per_evaluation": 1e6 * unit,
        "spread": [1e6 * min(per_evaluation), 1e6 * max(per_evaluation)],
        "ratio": ratio,
    }
    print(
        f"sweep of {len(found.results)} manifestations, {n_f_evals} rate evaluations an image: {swept:.1f} s"
    )
    print(f"plain inference: {1e6 * unit:.1f} us an evaluation ({len(per_evaluation)} times)")
    print(f"sweep over the sum of its rate evaluations: {ratio:.3f} (target: at most 1.15)")
    write(arguments.json, result, arguments.device)


if __name__ == "__main__":
    main()
