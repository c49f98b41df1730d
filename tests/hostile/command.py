"""Run a command where SECRET is set and memory is scarce: `... command train key=value ...`."""

import os
import resource
import sys
from pathlib import Path

from contnet.commands import evaluate, train
from tests.hostile.crafting import SECRET

MOST_BYTES = 2**32
"""Memory that the command may ask for, in addition to what it has at its start."""


def main() -> None:
    os.environ["SECRET"] = SECRET
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    command = sys.argv.pop(1)
    {"train": train.main, "evaluate": evaluate.main}[command]()


if __name__ == "__main__":
    main()
