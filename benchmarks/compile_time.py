"""The time of compilation over depth: the network as a whole, and by stitches and steps.

    python -m benchmarks.compile_time

Every row runs in a process of its own with empty caches. It reports the time of the first
training step, which compiles, and the median of the later steps. Compiling a whole network takes
longer with each rate evaluation, so deep networks are compiled by steps alone.
"""

import os
import statistics
from typing import Any

import torch

from benchmarks.measure import TrainingStep, clock, in_fresh_process, parser, write
from contnet import ContinuousNet
from contnet.networks import continuous
from contnet.training.compilation import how_to_compile


def row(
    scheme: str, depth: int, as_a_whole: bool, rounds: int, device: str, threads: int
) -> dict[str, float]:
    """Return the seconds of the first training step and the median of the later ones."""
    torch.set_num_threads(threads)
    continuous.WHOLE_UP_TO = 10**6 if as_a_whole else 0
    network = ContinuousNet(initial_time_d=depth, scheme=scheme)
    step = TrainingStep(network, device=device)
    network.compile(**how_to_compile(network, torch.device(device)))
    first = clock(step, device)
    seconds = [clock(step, device) for _ in range(rounds + 2)][2:]
    return {"first": first, "step": statistics.median(seconds)}


def main() -> None:
    made = parser(__doc__, "compile_time", rounds=10)
    made.add_argument("--scheme", default="rk4_classic")
    made.add_argument("--depths", type=int, nargs="+", default=[2, 4, 8, 16])
    made.add_argument(
        "--whole", type=int, nargs="*", default=[2, 4], help="depths to compile as a whole as well"
    )
    options = made.parse_args()
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"

    found: dict[str, dict[int, dict[str, float]]] = {"steps": {}, "whole": {}}
    chosen: dict[int, dict[str, float]] = {}
    for depth in options.depths:
        shallow = (
            ContinuousNet(initial_time_d=depth, scheme=options.scheme).n_f_evals
            <= continuous.WHOLE_UP_TO
        )
        for design in ("steps", "whole") if shallow or depth in options.whole else ("steps",):
            arguments: tuple[Any, ...] = (
                options.scheme,
                depth,
                design == "whole",
                options.rounds,
                options.device,
            )
            found[design][depth] = one = in_fresh_process(row, *arguments, torch.get_num_threads())
            figures = f"first step {one['first']:6.1f} s, then {1e3 * one['step']:7.1f} ms"
            print(f"{options.scheme}, K={depth:2}, compiled by {design:5}: {figures}", flush=True)
        chosen[depth] = found["whole" if shallow else "steps"][depth]
    low, high = min(options.depths), max(options.depths)
    by_steps = found["steps"][high]["first"] / found["steps"][low]["first"]
    as_shipped = chosen[high]["first"] / chosen[low]["first"]
    ratios = f"by steps {by_steps:.2f}, as contnet chooses {as_shipped:.2f}"
    print(f"first step at K={high} over K={low}: {ratios}")
    result = {**found, "by_steps": by_steps, "as_contnet_chooses": as_shipped}
    write(options.json, result, options.device)


if __name__ == "__main__":
    main()
