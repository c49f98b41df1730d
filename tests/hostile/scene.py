"""An empty folder with a canary, in which a command meets a hostile file, and what it leaves."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hostile.crafting import CANARY, OWNED, SECRET, Good, counting_server
from tests.hostile.folders import CraftedFolder
from tests.processes import Command, Finished, train

LONGEST = 20
"""Seconds that a command may take."""

LONGEST_LINE = 900
"""Characters of a message. The path of a test's folder may be a third of it."""

SONG = "sings"

EVALUATE_FILE = ("evaluate", "ckpt_path=hostile.ckpt", "sweep.convergence=false")
TRAIN_FILE = ("train", "ckpt_path=hostile.ckpt", "model.alpha=1", "epochs=2")
EVALUATE_FOLDER = ("evaluate", "ckpt_path=run")
TRAIN_FOLDER = ("train", "ckpt_path=last", "hydra.run.dir=run")


@contextmanager
def good_run(folder: Path) -> Iterator[tuple[Good, list[str]]]:
    """Train the run that everything is made from.

    Yields:
        the run, and the requests that a server on this machine gets.
    """
    trained = train("epochs=1", "model.alpha=1", "hydra.run.dir=run", folder=folder)
    assert trained.returncode == 0, trained
    with counting_server() as (url, asked):
        yield Good(folder / "run", url), asked


def faults_with_file(content: bytes, folder: Path, command: tuple[str, ...], late: bool) -> str:
    """Run a command on a hostile file.

    Args:
        content: the file.
        folder: an empty folder.
        command: the command and its arguments.
        late: True if the command may end after a part of its work, which it says how to go on with.

    Returns:
        what the command must not do and did; "" if it was refused in one line, "ended" if it ended
        well and left everything else alone.
    """
    (folder / "hostile.ckpt").write_bytes(content)
    return _faults(folder, command, late)


def faults_with_folder(
    good: Good, craft: CraftedFolder, folder: Path, command: tuple[str, ...]
) -> str:
    """Run a command on a hostile folder of a run, as `faults_with_file` does on a file."""
    craft(shutil.copytree(good.folder, folder / "run"))
    return _faults(folder, command, late=False)


def _faults(folder: Path, command: tuple[str, ...], late: bool) -> str:
    (folder / CANARY).write_text(SONG)
    sung = (folder / CANARY).stat().st_mtime_ns
    before = _content(folder)
    process = Command("tests.hostile.command", *command, folder=folder)
    try:
        done = process.wait(LONGEST)
    except AssertionError:
        return f"it ran for more than {LONGEST} seconds"
    after = _content(folder)
    faults = [*_printed(done, late), *_left_running(process.pid)]
    if (folder / CANARY).stat().st_mtime_ns != sung or after[CANARY] != before[CANARY]:
        faults.append("the canary was touched")
    if list(folder.rglob(OWNED)):
        faults.append("something was executed")
    if done.returncode != 0 and not late and after != before:
        changed = {*before.items()} ^ {*after.items()}
        faults.append(f"files were written: {sorted({name for name, _ in changed})}")
    return "; ".join(faults) or ("ended" if done.returncode == 0 else "")


def _printed(done: Finished, late: bool) -> Iterator[str]:
    if SECRET in done.stdout + done.stderr:
        yield "the secret was printed"
    if "\x1b" in done.stdout + done.stderr:
        yield "a control sequence reached the terminal"
    if done.returncode == 0:
        return
    lines = done.stderr.splitlines()[: 1 if late else None]
    refused = done.returncode == 1 and len(lines) == 1 and lines[0].startswith("error: ")
    if not refused or not lines[0].isprintable() or len(lines[0]) > LONGEST_LINE:
        yield f"exit code {done.returncode}, and no error of one line: {done.stderr[-2000:]!r}"


def _left_running(group: int) -> Iterator[str]:
    """Look for processes of a group: those that a command has started and not ended."""
    for _ in range(20):  # one that has just ended may not be gone yet
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    yield "a process was left behind"


def _content(folder: Path) -> dict[str, bytes]:
    """Return the content of each file by its path; of links and pipes, where they lead.

    The log of a run is left out: Hydra opens it before the command has read anything.
    """
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = str(path.readlink()).encode()
        elif path.is_file() and path.name != "train.log":
            found[str(path.relative_to(folder))] = path.read_bytes()
        elif not path.is_dir():
            found[str(path.relative_to(folder))] = b"a pipe"
    return found
