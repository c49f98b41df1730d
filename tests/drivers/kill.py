"""Kill a run at random moments and resume it: it ends as an undisturbed run, bit for bit.

    python -m tests.drivers.kill                           # 20 kills
    python -m tests.drivers.kill --processes 2 --kills 5   # kill one of two processes, at random

The run trains on digits, with two refinements and a checkpoint every 0.2 s. Half of the kills wait
until a checkpoint is being written. Weights, optimizer, learning rate and figures are compared;
wall-clock times are left out.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.outcomes import LAST, assert_same, outcome
from tests.processes import Command

RUN = (
    "model.alpha=4",
    "refine.epochs=[3,7]",
    "refine.variance=0.1",
    "lr_schedule.milestones=[9]",
    "dataset.batch_size=32",
    "callbacks.checkpoint.every_n_minutes=0.0033",
    "trainer.accelerator=cpu",
)
LONGEST_DELAY = 2.0
"""The most seconds from the start of training to a kill."""


def start(folder: Path, *overrides: str) -> Command:
    """Start a training run in `folder`."""
    return Command("train", *RUN, *overrides, f"hydra.run.dir={folder}", folder=folder.parent)


def has_begun(folder: Path, n_logs: int) -> bool:
    """Return whether training has started again: TensorBoard has begun a further log."""
    return len(list(folder.glob("tensorboard/**/events*"))) > n_logs


def members(leader: int) -> list[int]:
    """Return the processes that train: the leader and its children that run train.py."""
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    training = [
        int(pid) for pid in children if b"train" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return [leader, *training]


def wait_for_writing(folder: Path, process: Command) -> None:
    """Return as soon as a checkpoint is being written or the run is over."""
    while process.is_running():
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
        n_logs = len(list(folder.glob("tensorboard/**/events*")))
        process = start(folder, *overrides, *resume)
        while process.is_running() and not has_begun(folder, n_logs):
            time.sleep(0.01)
        (folder / "checkpoints").mkdir(exist_ok=True)
        if kills < n_kills and process.is_running():
            time.sleep(random.uniform(0, LONGEST_DELAY))
            if random.random() < 0.5:
                wait_for_writing(folder, process)
            if process.is_running():
                os.kill(random.choice(members(process.pid)), signal.SIGKILL)
                time.sleep(0.2)
                process.kill()
                kills += 1
                unfinished = list(folder.glob("checkpoints/.*"))
                while_writing += bool(unfinished)
                when = ", while a checkpoint was written" if unfinished else ""
                print(f"kill {kills}{when}", flush=True)
                continue
        finished = process.wait()
        assert finished.returncode == 0, finished
        return kills, while_writing


def kill(n_kills: int, n_processes: int) -> None:
    """Compare a run that is killed `n_kills` times with an undisturbed one."""
    options = [f"epochs={max(12, 2 * n_kills)}"]  # long enough for all kills
    if n_processes > 1:
        options += ["trainer.strategy=ddp", f"trainer.devices={n_processes}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        through = start(folder / "through", *options).wait()
        assert through.returncode == 0, through
        kills, while_writing = kill_and_restart(folder / "killed", n_kills, options)
        print(f"{kills} kills, {while_writing} of them while a checkpoint was written")
        assert_same(outcome(folder / "through"), outcome(folder / "killed"), "run")
    print("weights, optimizer, learning rate and figures equal the undisturbed run's, bit for bit")
    assert kills == n_kills, f"the run was over after {kills} of {n_kills} kills"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    kill(arguments.kills, arguments.processes)


if __name__ == "__main__":
    main()
