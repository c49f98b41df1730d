"""The seed's tables again: any rows, any seeds, one table.

    python -m benchmarks.reproduce cifar10/resnet20 cifar10/continuous_net_euler --seeds 1 2 3
    python -m benchmarks.reproduce cifar10/resnet20 --set dataset=image_folder --set dataset.root=path/to/cifar10
    python -m benchmarks.reproduce cifar10/modern "cifar10/modern label_smoothing=0" cifar10/modern_resnet20

Every run is a process of its own, `python train.py experiment=ROW seed=SEED`, in a folder of its own. A run that is
finished is not run again, one that was stopped goes on from its last checkpoint: the same command resumes the whole.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from types import FrameType
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from contnet.commands import build
from contnet.commands.messages import CONF, explain, options_of
from contnet.errors import ConfigError
from contnet.runs.resume import LAST, key_of, override_of, overrides_of
from contnet.runs.tables import write_csv
from contnet.training.callbacks.checkpointing import INTERRUPTED, REQUEUE

ROOT = Path(__file__).parents[1]
ROWS = options_of("experiment")
ITS_OWN = {
    "seed": "--seeds",
    "experiment": "ROW",
    "hydra.run.dir": "--output",
    "run_dir": "--output",
    "ckpt_path": "--output",
}
"""Keys that every run is given here, and what they are given from."""
SEEDS_FIGURE = re.compile(r"^# seed: ([\d.]+) % in (\d+) minutes$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A file of `conf/experiment/`, and what is changed of it, whatever is set for all rows."""

    experiment: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Row":
        experiment, *overrides = text.split() or [""]
        if experiment not in ROWS:
            raise argparse.ArgumentTypeError(
                f"{experiment!r} is no row; there are {', '.join(ROWS)}"
            )
        return cls(experiment, tuple(overrides))

    def __str__(self) -> str:
        return " ".join([self.experiment, *self.overrides])

    def of_all(self, overrides: list[str]) -> list[str]:
        """What of the overrides for all rows holds for this one."""
        own = set(map(key_of, self.overrides))
        return [override for override in overrides if key_of(override) not in own]

    def options(self, overrides: list[str]) -> list[str]:
        """Those of its runs, given those for all rows."""
        return [f"experiment={self.experiment}", *self.of_all(overrides), *self.overrides]

    def composed(self, overrides: list[str]) -> DictConfig:
        """The configuration of its runs.

        Raises:
            ConfigError: if there is none.
        """
        try:
            with initialize_config_dir(str(CONF), version_base="1.3"):
                config = compose("train", [*self.options(overrides), "run_dir=run"])
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error)) from error
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError(f"{missing[0]} must be given, as --set {missing[0]}=...")
        build.check(config)
        return config

    def runs(self, seeds: list[int], overrides: list[str], output: Path) -> list["Run"]:
        folder = output / re.sub(r"[^\w.-]+", "-", str(self))
        return [
            Run(self, seed, [*self.options(overrides), f"seed={seed}"], folder / str(seed))
            for seed in seeds
        ]


def refuse_its_own(overrides: list[str]) -> None:
    """Raises ConfigError if an override is of a key that the runs are given here."""
    for override in overrides:
        key = key_of(override)
        if key in ITS_OWN:
            raise ConfigError(
                f"{key} must be left out of overrides, got {override}; {ITS_OWN[key]} sets it"
            )


def seeds_figures(experiment: str) -> tuple[float, int] | None:
    """Test accuracy in percent and minutes that the original's document states, where it has the row."""
    match = SEEDS_FIGURE.search((CONF / "experiment" / f"{experiment}.yaml").read_text())
    return None if match is None else (float(match[1]), int(match[2]))


@dataclass(frozen=True)
class Run:
    """One seed of a row, and the folder that it is trained in."""

    row: Row
    seed: int
    options: list[str]
    folder: Path

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    def check(self) -> None:
        """Raises ConfigError if the folder holds another run."""
        if not self.result.exists() and not (self.folder / LAST).exists():
            return
        used = [
            override for override in overrides_of(self.folder) if key_of(override) != "ckpt_path"
        ]
        if effective(used) != effective(self.options):
            wanted = " ".join(self.options)
            raise ConfigError(
                f"{self.folder} holds a run with other overrides than {wanted}; choose another --output"
            )

    def train(self) -> dict[str, Any] | None:
        """The result, which is made if there is none; None if that failed."""
        if not self.result.exists():
            last = self.folder / LAST
            resume = [override_of("ckpt_path", last.resolve())] if last.exists() else []
            print(
                f"{self.row}, seed {self.seed}: {'resuming' if resume else 'training'}", flush=True
            )
            run_to_its_end(
                [*self.options, *resume, override_of("hydra.run.dir", self.folder.resolve())]
            )
        return json.loads(self.result.read_text()) if self.result.exists() else None


def effective(overrides: list[str]) -> dict[str, str]:
    """What overrides say: of two of a key, the last holds."""
    return {key_of(override): override for override in overrides}


def run_to_its_end(overrides: list[str]) -> None:
    """Run train.py, which is given the time to save where this program is told to stop; then stop."""
    told: list[int] = []
    processes: list[subprocess.Popen[bytes]] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        told.append(number)
        # A terminal sends Ctrl-C to both of them; who stops a process sends SIGTERM to this one alone.
        if number == signal.SIGTERM:
            for process in processes:
                process.send_signal(number)

    handlers = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    processes.append(
        subprocess.Popen([sys.executable, str(ROOT / "train.py"), *overrides], cwd=ROOT)
    )
    processes[0].wait()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if told:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED if told[0] == signal.SIGINT else REQUEUE)


def table_row(
    row: Row, overrides: list[str], results: list[dict[str, Any] | None]
) -> dict[str, Any]:
    """What the seed states beside what was measured; accuracies in percent, times in minutes."""
    config = row.composed(overrides)
    done = [result for result in results if result is not None]
    accuracies = [100 * result["test_accuracy"] for result in done]
    seed = seeds_figures(row.experiment)
    machines = {f"{result['machine']}, torch {result['versions']['torch']}" for result in done}
    data = [config.dataset._target_.rpartition(".")[2], config.dataset.get("root")]
    return {
        "row": str(row),
        "scheme": OmegaConf.select(config, "scheme.name")
        if "initial_time_d" in config.model
        else None,
        "refined": " ".join(map(str, config.refine.epochs)) or None,
        "epochs": config.epochs,
        "parameters": done[0]["parameters"] if done else None,
        "seed_accuracy": seed and seed[0],
        "accuracy_mean": mean(accuracies) if accuracies else None,
        "accuracy_std": stdev(accuracies) if len(accuracies) > 1 else None,
        "seeds": len(done),
        "failed": len(results) - len(done),
        "seed_minutes": seed and seed[1],
        "minutes": median(result["train_seconds"] for result in done) / 60 if done else None,
        "data": " in ".join(filter(None, data)),
        "machine": "; ".join(sorted(machines)) or None,
        "commit": "; ".join(sorted({str(result["git_commit"]) for result in done})) or None,
        "overrides": " ".join(row.of_all(overrides)),
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
            n_runs = (
                f"{row['seeds']} of {row['seeds'] + row['failed']}"
                if row["failed"]
                else row["seeds"]
            )
            ours = f"{row['accuracy_mean']:.2f}{spread} % ({n_runs})"
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
    for key in ("data", "machine", "commit", "overrides"):
        values = dict.fromkeys(row[key] for row in rows if row[key])
        lines += ["", f"{key.capitalize()}: {'; '.join(values)}"] if values else []
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "rows", nargs="+", type=Row.parse, metavar="ROW", help=f"of {', '.join(ROWS)}"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="for all rows",
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"))
    arguments = parser.parse_args()
    rows, seeds = (list(dict.fromkeys(given)) for given in (arguments.rows, arguments.seeds))
    runs = {row: row.runs(seeds, arguments.overrides, arguments.output) for row in rows}
    folders: dict[Path, Row] = {}
    try:
        for row in rows:
            first = folders.setdefault(runs[row][0].folder, row)
            if first != row:
                raise ConfigError(
                    f"{first} and {row} would share a folder; give them an --output each"
                )
            refuse_its_own([*row.overrides, *arguments.overrides])
            for run in runs[row]:
                row.composed([*arguments.overrides, f"seed={run.seed}"])
                run.check()
        arguments.output.mkdir(parents=True, exist_ok=True)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: --output must be a folder that can be written to; {error}")
    table = []
    for row in rows:
        results = [run.train() for run in runs[row]]
        table.append(table_row(row, arguments.overrides, results))
        # After every row, so that a table is there however the rest ends.
        write_csv(arguments.output / "table.csv", table)
        (arguments.output / "table.md").write_text(markdown(table))
    print((arguments.output / "table.md").read_text())
    n_failed = sum(row["failed"] for row in table)
    if n_failed:
        sys.exit(f"error: {n_failed} of {len(rows) * len(seeds)} runs failed")


if __name__ == "__main__":
    main()
