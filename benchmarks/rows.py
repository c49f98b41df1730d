"""The rows that benchmarks.reproduce trains, and the runs of each row."""

import argparse
import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from contnet.commands import build
from contnet.commands.grammar import key_of, override_of
from contnet.commands.messages import CONF, explain, options_of
from contnet.commands.recorded import recorded_overrides
from contnet.errors import ConfigError
from contnet.runs.folder import LAST, RESULT
from contnet.training.callbacks.checkpointing import INTERRUPTED, REQUEUE

ROOT = Path(__file__).parents[1]
ROWS = options_of("experiment")
RESERVED = {
    "seed": "--seeds",
    "experiment": "ROW",
    "hydra.run.dir": "--output",
    "run_dir": "--output",
    "ckpt_path": "--output",
}
"""Keys that no override may set, and the option that sets each."""


@dataclass(frozen=True)
class Row:
    """A file of `conf/experiment/`, and its own overrides, which replace those of all rows."""

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
        """Return the overrides of all rows without those of keys that this row overrides."""
        own = set(map(key_of, self.overrides))
        return [override for override in overrides if key_of(override) not in own]

    def options(self, overrides: list[str]) -> list[str]:
        """Return the overrides of the row's runs, given those of all rows."""
        return [f"experiment={self.experiment}", *self.of_all(overrides), *self.overrides]

    def composed(self, overrides: list[str]) -> DictConfig:
        """Compose the configuration of the row's runs.

        Raises:
            ConfigError: if the configuration does not compose, lacks a key or breaks a rule.
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
        """Return a run for each seed, in a folder of its own under `output`."""
        folder = output / re.sub(r"[^\w.-]+", "-", str(self))
        return [
            Run(self, seed, [*self.options(overrides), f"seed={seed}"], folder / str(seed))
            for seed in seeds
        ]


@dataclass(frozen=True)
class Run:
    """One seed of a row, and the folder that it is trained in."""

    row: Row
    seed: int
    options: list[str]
    folder: Path

    def check(self) -> None:
        """Raise ConfigError if the folder holds another run."""
        if holds_another_run(self.folder, self.options):
            raise ConfigError(
                f"{self.folder} holds a run with other overrides than {' '.join(self.options)}; "
                "choose another --output"
            )

    def train(self) -> dict[str, Any] | None:
        """Train the run unless it is finished, and return its result; None if it failed."""
        return trained(self.folder, self.options, f"{self.row}, seed {self.seed}")


def holds_another_run(folder: Path, options: list[str], *constant: str) -> bool:
    """Return True if a folder holds a run with other overrides; `constant` keys do not count."""
    if not any((folder / file).exists() for file in (RESULT, LAST)):
        return False
    used = recorded_overrides(folder, {"ckpt_path", *constant}, lambda name: False)
    return _effective(used) != _effective([one for one in options if key_of(one) not in constant])


def trained(
    folder: Path, options: list[str], title: str, start: Path | None = None
) -> dict[str, Any] | None:
    """Train in a folder unless that is done, and return the result; None if the run failed.

    Args:
        folder: the folder of the run. A run that was stopped goes on from its last checkpoint.
        options: the overrides.
        title: what is trained, for the line that says so.
        start: the checkpoint that a new run starts from; None starts from random weights.
    """
    result, last = folder / RESULT, folder / LAST
    if not result.exists():
        found = last if last.exists() else start
        resume = [override_of("ckpt_path", found.resolve())] if found else []
        print(f"{title}: {'resuming' if last.exists() else 'training'}", flush=True)
        run_to_its_end([*options, *resume, override_of("hydra.run.dir", folder.resolve())])
    return json.loads(result.read_text()) if result.exists() else None


def check_reserved(overrides: list[str]) -> None:
    """Raise ConfigError if an override sets a reserved key."""
    for override in overrides:
        key = key_of(override)
        if key in RESERVED:
            raise ConfigError(
                f"{key} must be left out of overrides, got {override}; {RESERVED[key]} sets it"
            )


def run_to_its_end(overrides: list[str]) -> None:
    """Run train.py, and wait for it.

    On SIGINT or SIGTERM, this program waits until train.py has saved a checkpoint, and exits.
    """
    received: list[int] = []
    processes: list[subprocess.Popen[bytes]] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # A terminal sends Ctrl-C to both programs. SIGTERM reaches this one alone.
        if number == signal.SIGTERM:
            for process in processes:
                process.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, on_signal) for number in numbers}
    command = [sys.executable, str(ROOT / "train.py"), *overrides]
    processes.append(subprocess.Popen(command, cwd=ROOT))
    processes[0].wait()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if received:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED if received[0] == signal.SIGINT else REQUEUE)


def _effective(overrides: list[str]) -> dict[str, str]:
    """Return the last override of each key, which is the one in force."""
    return {key_of(override): override for override in overrides}
