"""Start commands in processes of their own.

A process is forked from a server that has imported torch, Lightning and Hydra already. It starts in
a tenth of the time of a new interpreter, and runs a module as `python -m` does.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

ROOT = Path(__file__).parents[1]

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.drivers.preloaded"])


@dataclass(frozen=True)
class Finished:
    """How a process ended, and what it printed."""

    returncode: int | None
    stdout: str
    stderr: str


class Command:
    """A module that runs in `folder` with the given arguments; `wait` returns how it ended."""

    def __init__(self, module: str, *arguments: str, folder: Path) -> None:
        self._printed = TemporaryDirectory()
        self._files = [Path(self._printed.name, name) for name in ("stdout", "stderr")]
        self._process = SERVER.Process(target=_run, args=(module, arguments, folder, self._files))
        with patch.dict(os.environ, environment()):  # of the server, which the first one starts
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill the process and the processes that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def is_running(self) -> bool:
        return self._process.is_alive()

    def wait(self, timeout: float = 240) -> Finished:
        """Wait for the end of the process; kill it after `timeout` seconds."""
        self._process.join(timeout)
        in_time = not self._process.is_alive()
        if not in_time:
            os.killpg(self.pid, signal.SIGKILL)
        with self._printed:
            finished = Finished(self._process.exitcode, *(file.read_text() for file in self._files))
        assert in_time, finished
        return finished


def _run(module: str, arguments: tuple[str, ...], folder: Path, printed: list[Path]) -> None:
    os.setsid()  # so that it can be killed together with its children
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    for stream, file in zip((sys.stdout, sys.stderr), printed, strict=True):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    multiprocessing.set_start_method(None, force=True)  # the platform's own, not this server's
    os.environ.update(environment())
    os.chdir(folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def train(*overrides: str, folder: Path, fault: str | None = None) -> Finished:
    """Train in `folder`, with a fault of `tests.faults` if one is named."""
    faults = () if fault is None else ("--fault", fault)
    return Command("tests.drivers.train", *faults, *overrides, folder=folder).wait()


def train_as_from_a_shell(*overrides: str, folder: Path) -> Finished:
    """Train in `folder` in a new interpreter, which ends as only such a one does."""
    return interpreted(str(ROOT / "train.py"), *overrides, folder=folder)


def interpreted(*arguments: str, folder: Path, timeout: float = 240) -> Finished:
    """Run Python with these arguments in a new interpreter in `folder`, and wait for its end."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    """Return the environment of a command: one thread, no warnings, modules of this checkout."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": str(ROOT),
        "HYDRA_FULL_ERROR": "0",
    }


def torchrun(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a launcher of processes that train together."""
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
