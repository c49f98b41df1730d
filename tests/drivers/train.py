"""Train as contnet-train does, with a fault.

    python -m tests.drivers.train --fault NAME:ARGUMENT:... key=value ...

The processes that the run starts itself have its faults, too.
"""

import os
import sys

from contnet.commands import train
from tests import faults

FAULT = "CONTNET_TEST_FAULT"


def main() -> None:
    if sys.argv[1:2] == ["--fault"]:
        os.environ[FAULT] = sys.argv[2]
        del sys.argv[1:3]
    if FAULT in os.environ:
        faults.inject(os.environ[FAULT])
    train.main()


if __name__ == "__main__":
    main()
