"""Short names of runs: what tells the paths of their checkpoints apart."""

from collections.abc import Sequence
from pathlib import Path

from contnet.runs.folder import LAST


def run_names(checkpoints: Sequence[str]) -> list[str]:
    """Return a name for each checkpoint: the part of its run's folder in which the runs differ.

    A checkpoint that is not the last one of its run has the name of its file in brackets. Equal
    paths have equal names.
    """
    runs = [_run_and_file(Path(checkpoint)) for checkpoint in checkpoints]
    names = apart([run for run, _ in runs])
    return [f"{name}{file}" for name, (_, file) in zip(names, runs, strict=True)]


def apart(paths: Sequence[Path]) -> list[str]:
    """Return paths without the folders that all of them begin with."""
    parts = [path.parts for path in paths]
    n_shared = 0
    while all(len(part) > n_shared + 1 for part in parts) and (
        len({part[n_shared] for part in parts}) == 1
    ):
        n_shared += 1
    return [str(Path(*part[n_shared:])) for part in parts]


def _run_and_file(checkpoint: Path) -> tuple[Path, str]:
    """Return the folder of the run that saved a checkpoint, and what tells its file from others."""
    if checkpoint.parent.name != LAST.parent.name:
        return checkpoint, ""
    run = checkpoint.parents[1]
    file = "" if checkpoint.name == LAST.name else f" ({checkpoint.stem})"
    return (run if run.parts else run.absolute()), file
