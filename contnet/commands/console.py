"""The screen of a command: its progress, and filters for remarks that need no attention."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

log = logging.getLogger(__name__)

REMARKS = (
    "does not have many workers",
    "exists and is not empty",
    "dirpath has changed",
    "have no `val_dataloader`",
    "logging interval",
    "LeafSpec",
)
"""Parts of warnings about choices that this program has made on purpose."""


def quieten() -> None:
    """Silence Lightning's remarks about itself, but not its warnings about settings of a run."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for remark in REMARKS:
        warnings.filterwarnings("ignore", message=f".*{remark}")


@contextmanager
def progress(total: int, title: str) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with one line of text after each of `total` steps.

    A terminal shows a progress bar with the last line. Elsewhere, all lines are logged.
    """
    console = Console()
    if not console.is_terminal:
        done = count(1)
        yield lambda line: log.info("%s %d/%d  %s", title, next(done), total, line)
        return
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda line: bar.update(task, advance=1, description=line)
