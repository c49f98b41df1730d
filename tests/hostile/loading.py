"""Load hostile files, as every command does first: `python -m tests.hostile.loading FOLDER`.

It prints a line of JSON for each file: its name, the message of its refusal or null, and the
seconds that the processor took.
"""

import json
import sys
import time
from pathlib import Path

from contnet.errors import ConfigError
from contnet.runs import checkpoint


def refusal(path: Path) -> str | None:
    """Return the message with which a file is refused; None if it is loaded."""
    try:
        checkpoint.load(str(path))
    except ConfigError as error:
        return str(error)
    return None


def main() -> None:
    for path in sorted(Path(sys.argv[1]).iterdir()):
        start = time.process_time()
        message = refusal(path)
        print(json.dumps([path.name, message, time.process_time() - start]), flush=True)


if __name__ == "__main__":
    main()
