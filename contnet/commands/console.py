"""The screen of a command: its progress, and filters for remarks that need no attention."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.markup import escape
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

LIGHTNING = "pytorch_lightning"
"""The name of Lightning's package, which is that of its log."""

CHATTER = {
    "utilities.rank_zero": (
        "Tip: ",
        "GPU available",
        "TPU available",
        "was configured so",
        "`max_epochs=",
        "the checkpoint path at",
        "from the checkpoint at",
        "Loading `train_dataloader`",
        "Automatic Mixed Precision",
        "All distributed processes registered",
        "Detected KeyboardInterrupt",
    ),
    "accelerators.cuda": ("CUDA_VISIBLE_DEVICES",),
    "loggers.mlflow": ("Creating it.",),
    "trainer.connectors.checkpoint_connector": ("weights_only",),
    "trainer.connectors.signal_connector": ("SIGTERM", "SLURM auto-requeueing"),
}
"""Parts of what Lightning logs about itself, by the module that logs them.

Its reports stay: those of profilers, the summary of a network, and why a training stopped.
"""


def _without(parts: tuple[str, ...]) -> Callable[[logging.LogRecord], bool]:
    """Return a filter of a log that rejects each message with one of `parts`."""
    return lambda record: not any(part in record.getMessage() for part in parts)


# Made once: a log does not take the same filter twice.
_FILTERS = {module: _without(parts) for module, parts in CHATTER.items()}


def quieten() -> None:
    """Silence Lightning's remarks about itself, but neither its reports nor its other warnings."""
    for remark in REMARKS:
        warnings.filterwarnings("ignore", message=f".*{remark}")
    for module, without_chatter in _FILTERS.items():
        logging.getLogger(f"{LIGHTNING}.{module}").addFilter(without_chatter)
    lightning = logging.getLogger(LIGHTNING)
    if logging.getLogger().hasHandlers():  # Hydra's, which write to the run's log as well
        lightning.handlers.clear()
        lightning.propagate = True


@contextmanager
def progress(total: int, title: str) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with one line of text after each of `total` steps.

    A terminal shows a progress bar with the last line. Elsewhere, all lines are logged.
    """
    console = Console()
    if not sys.stdout.isatty():  # rich may be told to colour what is no terminal
        done = count(1)
        yield lambda line: log.info("%s %d/%d  %s", title, next(done), total, line)
        return
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda line: bar.update(task, advance=1, description=escape(line))
