"""The seed's tables again: any rows, any seeds, one table.

    python -m benchmarks.reproduce cifar10/resnet20 cifar10/continuous_net_euler --seeds 1 2 3
    python -m benchmarks.reproduce cifar10/resnet20 --set dataset=image_folder --set dataset.root=path/to/cifar10

Every run is a process of its own, `python train.py experiment=ROW seed=SEED`, in a folder of its own. A run that is
finished is not run again, one that was stopped goes on from its last checkpoint: the same command resumes the whole.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from contnet.sweep_summary import write_csv

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "conf" / "experiment"
ROWS = sorted(str(file.relative_to(EXPERIMENTS).with_suffix("")) for file in EXPERIMENTS.rglob("*.yaml"))
SEEDS_FIGURE = re.compile(r"^# seed: ([\d.]+) % in (\d+) minutes$", re.MULTILINE)


def seeds_figures(row: str) -> tuple[float, int] | None:
    """Test accuracy in percent and minutes that the original's document states, where it has the row."""
    match = SEEDS_FIGURE.search((EXPERIMENTS / f"{row}.yaml").read_text())
    return None if match is None else (float(match[1]), int(match[2]))


def composed(row: str, overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [f"experiment={row}", "run_dir=run", *overrides])


def train(row: str, seed: int, overrides: list[str], folder: Path) -> dict[str, Any] | None:
    """The result of a run, which is made if there is none; None if it failed."""
    result = folder / "result.json"
    used = folder / ".hydra" / "overrides.yaml"
    options = [f"experiment={row}", f"seed={seed}", *overrides]
    if used.exists() and not set(options) <= set(OmegaConf.load(used)):
        sys.exit(f"error: {folder} holds a run with other overrides than {' '.join(options)}; choose another --output")
    if not result.exists():
        last = folder / "checkpoints" / "last.ckpt"
        resume = [f"ckpt_path={last.resolve()}"] if last.exists() else []
        options += [*resume, f"hydra.run.dir={folder.resolve()}"]
        print(f"{row}, seed {seed}: {'resuming' if resume else 'training'}", flush=True)
        subprocess.run([sys.executable, str(ROOT / "train.py"), *options], cwd=ROOT, check=False)
    return json.loads(result.read_text()) if result.exists() else None


def table_row(row: str, overrides: list[str], results: list[dict[str, Any]]) -> dict[str, Any]:
    """What the seed states beside what was measured; accuracies in percent, times in minutes."""
    config = composed(row, overrides)
    accuracies = [100 * result["test_accuracy"] for result in results]
    seed = seeds_figures(row)
    machines = {f"{result['machine']}, torch {result['versions']['torch']}" for result in results}
    data = [config.dataset._target_.rpartition(".")[2], config.dataset.get("root")]
    return {
        "row": row,
        "scheme": OmegaConf.select(config, "scheme.name") if "initial_time_d" in config.model else None,
        "refined": " ".join(map(str, config.refine.epochs)) or None,
        "epochs": config.epochs,
        "parameters": results[0]["parameters"] if results else None,
        "seed_accuracy": seed and seed[0],
        "accuracy_mean": mean(accuracies) if accuracies else None,
        "accuracy_std": stdev(accuracies) if len(accuracies) > 1 else None,
        "seeds": len(results),
        "seed_minutes": seed and seed[1],
        "minutes": median(result["train_seconds"] for result in results) / 60 if results else None,
        "data": " in ".join(filter(None, data)),
        "machine": "; ".join(sorted(machines)) or None,
        "overrides": " ".join(overrides),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| row | scheme | refined | epochs | parameters | accuracy, seed | accuracy, ours | time, seed | time, ours |",
        f"|{' --- |' * 9}",
    ]
    for row in rows:
        ours = "-"
        if row["accuracy_mean"] is not None:
            spread = "" if row["accuracy_std"] is None else f" ± {row['accuracy_std']:.2f}"
            ours = f"{row['accuracy_mean']:.2f}{spread} % ({row['seeds']})"
        cells = [
            f"`{row['row']}`",
            row["scheme"] or "-",
            row["refined"] or "-",
            str(row["epochs"]),
            "-" if row["parameters"] is None else f"{row['parameters']:,}",
            "-" if row["seed_accuracy"] is None else f"{row['seed_accuracy']:.2f} %",
            ours,
            "-" if row["seed_minutes"] is None else f"{row['seed_minutes']} min",
            "-" if row["minutes"] is None else f"{row['minutes']:.1f} min",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "In brackets: number of seeds."]
    for key in ("data", "machine", "overrides"):
        values = dict.fromkeys(row[key] for row in rows if row[key])
        lines += ["", f"{key.capitalize()}: {'; '.join(values)}"] if values else []
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in arguments.rows:
        folders = [arguments.output / row.replace("/", "-") / str(seed) for seed in arguments.seeds]
        runs = zip(arguments.seeds, folders, strict=True)
        results = [train(row, seed, arguments.overrides, folder) for seed, folder in runs]
        rows.append(table_row(row, arguments.overrides, [result for result in results if result is not None]))
        # After every row, so that a table is there however the rest ends.
        write_csv(arguments.output / "table.csv", rows)
        (arguments.output / "table.md").write_text(markdown(rows))
    print((arguments.output / "table.md").read_text())


if __name__ == "__main__":
    main()
