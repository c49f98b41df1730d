"""When to refine, and how: accuracy against time for networks that grow while they train.

    python -m benchmarks.growth --set dataset=image_folder --set dataset.root=path/to/cifar10
    python -m benchmarks.growth --at 0.5 0.7 0.8 --epsilon keep grow --seeds 0 1 2

Every plan of the grid (when x how far x scale of epsilon x decay x shape of the decay) is a
training of `experiment=cifar10/grown`. The shallow part is trained once for each seed: a plan
starts from the last checkpoint that it shares with the shallow network. Beside them stand networks
that do not grow: with all nodes, for the whole run and for shorter ones, and with fewer nodes. They
save time, too.

A finished run is not repeated, and a stopped one resumes from its last checkpoint, so the same
command resumes the whole study. It leaves `growth.csv`, `growth.json` and `growth.png`.

The accuracy is that on validation images; plans are chosen by it. `--test` adds that on the test
images, for what is claimed. Time is the number of steps at each depth, times the median time of a
step at this depth. These are measured in turns, so that other work of the machine meets all alike.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

import contnet
from benchmarks.growth_picture import draw
from benchmarks.growth_runs import Plan, Training, grown, shallow, throughout
from benchmarks.measure import TrainingStep, in_turns, parser, ratio, write
from contnet.errors import ConfigError
from contnet.ode.depth_time import depth_time
from contnet.runs.tables import write_csv
from contnet.training.schedulers import DECAYS


def parse() -> argparse.Namespace:
    made = parser(__doc__, "growth", rounds=15)
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    made.add_argument("--at", nargs="+", type=float, default=[0.5, 0.7, 0.8])
    made.add_argument(
        "--to", nargs="+", type=int, default=[8], help="nodes of every block at the end"
    )
    made.add_argument(
        "--throughout", nargs="*", type=int, default=[], help="nodes of networks that do not grow"
    )
    scales = ["keep", "grow"]
    made.add_argument("--epsilon", nargs="+", default=scales, choices=scales)
    made.add_argument("--decay", nargs="+", type=float, default=[0.2])
    made.add_argument("--shape", nargs="+", default=["linear"], choices=list(DECAYS))
    made.add_argument(
        "--also",
        nargs="+",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="the plans once more with these overrides, from where they part from the shallow run",
    )
    made.add_argument("--epochs", type=int, default=30)
    made.add_argument(
        "--short", nargs="*", type=int, default=[], help="epochs of shorter deep runs"
    )
    made.add_argument("--seeds", nargs="+", type=int, default=[0])
    made.add_argument("--test", action="store_true", help="report the test accuracy as well")
    made.add_argument("--output", type=Path, default=Path("outputs/growth"))
    options = made.parse_args()
    for name, values in (("at", options.at), ("decay", options.decay)):
        if not all(0 < value < 1 for value in values):
            made.error(f"--{name} must be shares between 0 and 1, got {values}")
    if not all(0 < epochs < options.epochs for epochs in options.short):
        made.error(f"--short must be fewer epochs than {options.epochs}, got {options.short}")
    if not all(n > 1 for n in [*options.to, *options.throughout]):
        made.error(f"--to and --throughout must be more than 1, got {options.to}")
    options.throughout = [n for n in options.throughout if n != max(options.to)]
    for name in ("at", "to", "throughout", "epsilon", "decay", "shape", "short", "seeds"):
        setattr(options, name, list(dict.fromkeys(getattr(options, name))))
    return options


def trainings(options: argparse.Namespace) -> list[Training]:
    """Return all trainings of the study; a shallow one comes before those that start from it."""
    common = [
        "experiment=cifar10/grown",
        "dataset.val_size=0.2",  # plans are chosen by validation images
        "refine.at=[]",
        "refine.to=[]",
        *options.overrides,
    ]
    plans = [
        Plan(at, to, epsilon, decay, shape, tuple(more))
        for more in ([], *options.also)
        for at, to, epsilon, decay, shape in product(
            options.at, options.to, options.epsilon, options.decay, options.shape
        )
    ]
    epochs, out = options.epochs, options.output
    decay = f"lr_schedule.decay={options.decay[0]}"
    found = []
    for seed in options.seeds:
        parent = shallow(common, epochs, min(options.decay), seed, out)
        deepest = max(options.to)
        others = [(n, epochs) for n in (deepest, *options.throughout)]
        others += [(deepest, fewer) for fewer in options.short]
        found.append(parent)
        found += [throughout([*common, decay], n, of, epochs, seed, out) for n, of in others]
        found += [grown(common, plan, epochs, parent, out) for plan in plans]
    return found


def refined_step(folder: Path, n_basis: int, device: str) -> TrainingStep:
    """Return a training step, in float32, of the network of a run, refined to `n_basis` nodes."""
    made = contnet.load(folder)
    depth = depth_time(made.network)
    assert depth is not None
    depth.refine(n_basis)
    return TrainingStep(
        made.network.train(),
        precision=torch.float32,
        device=device,
        shape=made.preprocessing.shape,
        num_classes=len(made.classes),
    )


def relative_steps(found: Sequence[Training], rounds: int, device: str) -> dict[int, float]:
    """Return the time of a step at each number of nodes, over that at the largest."""
    folder = found[0].folder
    nodes = sorted({n for training in found for _, n in training.phases})
    sides = {str(n): refined_step(folder, n, device) for n in nodes}
    seconds = in_turns(sides, rounds, device)
    return {n: ratio(seconds[str(n)], seconds[str(nodes[-1])])["median"] for n in nodes}


def relative_time(training: Training, steps: dict[int, float]) -> float:
    """Return the time of a training over that of the deepest network for the whole run."""
    return sum(share * steps[n] for share, n in training.phases)


def table(
    found: Sequence[tuple[Training, dict[str, Any]]], steps: dict[int, float], *, test: bool
) -> list[dict[str, Any]]:
    """Return one row for each side of the study, with mean and standard deviation over seeds."""
    sides: dict[tuple[str, float], list[tuple[Training, dict[str, Any]]]] = {}
    for training, result in found:
        share = sum(share for share, _ in training.phases)
        sides.setdefault((training.side, round(share, 9)), []).append((training, result))
    rows = []
    for (side, share), members in sides.items():
        row: dict[str, Any] = {"side": side, "share": share}
        row["relative_time"] = relative_time(members[0][0], steps)
        for name in ("val_accuracy", "test_accuracy") if test else ("val_accuracy",):
            values = [result[name] for _, result in members]
            row[name] = statistics.mean(values)
            row[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
        row["n_seeds"] = len(members)
        rows.append(row)
    return sorted(rows, key=lambda row: row["relative_time"])


def main() -> None:
    options = parse()
    try:
        found = [(training, training.train()) for training in trainings(options)]
    except ConfigError as error:
        sys.exit(f"error: {error}")
    steps = relative_steps([training for training, _ in found], options.rounds, options.device)
    rows = table(found, steps, test=options.test)
    write_csv(options.output / "growth.csv", rows)
    draw(rows, options.output / "growth.png", test=options.test)
    name = "test_accuracy" if options.test else "val_accuracy"
    for row in rows:
        spread = row[f"{name}_std"]
        shown = f"{100 * row[name]:.2f}" + (f" ± {100 * spread:.2f}" if spread is not None else "")
        side = row["side"] + (f", {row['share']:.2f} of the epochs" if row["share"] < 1 else "")
        print(f"{row['relative_time']:.3f} of the time  {shown:>14} %  {side}")
    for n, step in steps.items():
        print(f"a step with {n} nodes takes {step:.3f} of the time of one with {max(steps)}")
    result = {"rows": rows, "relative_steps": steps, "overrides": options.overrides}
    write(options.output / "growth.json", result, options.device)


if __name__ == "__main__":
    main()
