"""What a command shows on the screen beside its results."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress


def quieten() -> None:
    """Leave out what Lightning says of itself; what it has to say of a run's settings stays."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    remarks = (
        "does not have many workers",
        "exists and is not empty",
        "dirpath has changed",
        "have no `val_dataloader`",
        "logging interval",
        "LeafSpec",
    )
    for remark in remarks:
        warnings.filterwarnings("ignore", message=f".*{remark}")


log = logging.getLogger(__name__)


@contextmanager
def steps(total: int, title: str) -> Iterator[Callable[[str], None]]:
    """A function to call with a line after each of `total` steps: a bar where a person watches, else the lines."""
    console = Console()
    if not console.is_terminal:
        done = count(1)
        yield lambda line: log.info("%s %d/%d  %s", title, next(done), total, line)
        return
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=console
    ) as progress:
        task = progress.add_task(title, total=total)
        yield lambda line: progress.update(task, advance=1, description=line)
