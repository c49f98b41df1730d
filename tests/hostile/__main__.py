"""Run both commands on every hostile file and folder: `python -m tests.hostile [PATTERN]`.

It takes some minutes, and prints a line for each command that did what it must not do. The tests of
this folder run a part of it.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.hostile import folders, scene
from tests.hostile.expected import FILES, LATE, may_end_well


def outcomes(pattern: str, work: Path) -> Iterator[tuple[str, str, str]]:
    """Run the commands.

    Args:
        pattern: a regular expression that the name of a file or folder must match.
        work: an empty folder.

    Yields:
        the command, the name of the file or folder, and the faults.
    """
    with scene.good_run(work) as (good, asked):
        for name, craft in FILES.items():
            for command in (scene.EVALUATE_FILE, scene.TRAIN_FILE):
                if re.search(pattern, name):
                    content = craft(good)
                    folder = _new(work, command[0], name)
                    late = name in LATE
                    yield command[0], name, scene.faults_with_file(content, folder, command, late)
        for name, change in folders.ALL.items():
            for command in (scene.EVALUATE_FOLDER, scene.TRAIN_FOLDER):
                if re.search(pattern, name) and (command[0] == "train" or name in folders.FILES):
                    folder = _new(work, command[0], name)
                    yield command[0], name, scene.faults_with_folder(good, change, folder, command)
        yield "all", "commands", f"requests were sent: {asked}" if asked else ""


def _new(work: Path, command: str, name: str) -> Path:
    folder = work / command / name
    folder.mkdir(parents=True)
    return folder


def main() -> None:
    n_commands, failed = 0, False
    with tempfile.TemporaryDirectory() as work:
        for command, name, faults in outcomes("".join(sys.argv[1:2]), Path(work)):
            n_commands += 1
            if faults and not (faults == "ended" and may_end_well(command, name)):
                failed = True
                print(f"{command} {name}: {faults}", flush=True)
    print(f"{n_commands} commands")
    sys.exit(failed)


if __name__ == "__main__":
    main()
