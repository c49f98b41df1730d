"""Kill a run at random moments and resume it: it ends as an undisturbed run, bit for bit.

    python -m benchmarks.kill                           # 20 kills
    python -m benchmarks.kill --processes 2 --kills 5   # kill one of two processes, at random

The run trains on digits, with two refinements and a checkpoint every 0.2 s. Half of the kills wait
until a checkpoint is being written. Weights, optimizer, learning rate and figures are compared;
wall-clock times are left out.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contnet.runs.folder import LAST, RESULT

ROOT = Path(__file__).parents[1]
RUN = (
    "model.alpha=4",
    "refine.epochs=[3,7]",
    "refine.variance=0.1",
    "lr_schedule.milestones=[9]",
    "dataset.batch_size=32",
    "callbacks.checkpoint.every_n_minutes=0.0033",
    "trainer.accelerator=cpu",
)
WALL_CLOCK = {"train_seconds", "images_per_second"}
LONGEST_DELAY = 2.0
"""The most seconds from the start of training to a kill."""


def start(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Start a training run in `folder`, with its output in a log beside the folder."""
    command = [sys.executable, str(ROOT / "train.py"), *RUN, *overrides, f"hydra.run.dir={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = (folder.parent / f"{folder.name}.log").open("ab")
    return subprocess.Popen(
        command, cwd=folder.parent, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def has_begun(folder: Path, n_logs: int) -> bool:
    """Return whether training has started again: TensorBoard has begun a further log."""
    return len(list(folder.glob("tensorboard/events*"))) > n_logs


def members(leader: int) -> list[int]:
    """Return the processes that train: the leader and its children that run train.py."""
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    training = [
        int(pid) for pid in children if b"train.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return [leader, *training]


def wait_for_writing(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Return as soon as a checkpoint is being written or the run is over."""
    while process.poll() is None:
        for _ in range(1000):
            names = os.listdir(folder / "checkpoints")  # noqa: PTH208 (the quickest)
            if any(name.startswith(f".{LAST.name}") for name in names):
                return


def kill_and_restart(folder: Path, n_kills: int, overrides: list[str]) -> tuple[int, int]:
    """Train to the end through at most `n_kills` kills.

    Returns:
        the number of kills, and how many of them interrupted the writing of a checkpoint.
    """
    kills = while_writing = 0
    while True:
        resume = ["ckpt_path=last"] if (folder / LAST).exists() else []
        n_logs = len(list(folder.glob("tensorboard/events*")))
        process = start(folder, *overrides, *resume)
        while process.poll() is None and not has_begun(folder, n_logs):
            time.sleep(0.01)
        (folder / "checkpoints").mkdir(exist_ok=True)
        if kills < n_kills and process.poll() is None:
            time.sleep(random.uniform(0, LONGEST_DELAY))
            if random.random() < 0.5:
                wait_for_writing(folder, process)
            if process.poll() is None:
                os.kill(random.choice(members(process.pid)), signal.SIGKILL)
                time.sleep(0.2)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                unfinished = list(folder.glob("checkpoints/.*"))
                while_writing += bool(unfinished)
                when = ", while a checkpoint was written" if unfinished else ""
                print(f"kill {kills}{when}", flush=True)
                continue
        if process.wait() != 0:
            sys.exit(f"the run failed:\n{Path(f'{folder}.log').read_text()[-2000:]}")
        return kills, while_writing


def outcome(folder: Path) -> dict[str, Any]:
    """Read weights, training state and figures of a run, without wall-clock times."""
    checkpoint = torch.load(folder / LAST, weights_only=True)
    with (folder / "metrics.csv").open() as file:
        rows = [
            {k: v for k, v in row.items() if k not in WALL_CLOCK} for row in csv.DictReader(file)
        ]
    result = json.loads((folder / RESULT).read_text())
    kept = {k: v for k, v in result.items() if k not in {*WALL_CLOCK, "overrides", "git_commit"}}
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
    return {**{part: checkpoint[part] for part in parts}, "metrics": rows, "result": kept}


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """List the places where two outcomes differ."""
    if isinstance(a, Tensor):
        return [] if torch.equal(a, b) else [where]
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return [f"{where}: other keys"]
        return [found for key in a for found in differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return [f"{where}: {len(a)} and {len(b)} entries"]
        return [
            found
            for i, (x, y) in enumerate(zip(a, b, strict=True))
            for found in differences(x, y, f"{where}.{i}")
        ]
    return [] if a == b else [f"{where}: {a!r} and {b!r}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    options = [f"epochs={max(12, 2 * arguments.kills)}"]  # long enough for all kills
    if arguments.processes > 1:
        options += ["trainer.strategy=ddp", f"trainer.devices={arguments.processes}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if start(folder / "through", *options).wait() != 0:
            sys.exit((folder / "through.log").read_text()[-2000:])
        kills, while_writing = kill_and_restart(folder / "killed", arguments.kills, options)
        found = differences(outcome(folder / "through"), outcome(folder / "killed"))
    print(f"{kills} kills, {while_writing} of them while a checkpoint was written")
    if found:
        sys.exit("the killed run ended in another state:\n" + "\n".join(found[:20]))
    print("weights, optimizer, learning rate and figures equal the undisturbed run's, bit for bit")
    if kills < arguments.kills:
        sys.exit(f"the run was over after {kills} of {arguments.kills} kills")


if __name__ == "__main__":
    main()
