"""The folder of a run: the names of the files in it, and the record of its configuration.

Hydra records the configuration of a command in `.hydra`. The record belongs to the checkpoint: a
run is resumed with both. So a command that ends before it has saved a checkpoint must
leave both as they were, although Hydra overwrites the record as soon as a command starts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from contnet.errors import ConfigError

LAST = Path("checkpoints") / "last.ckpt"
"""The checkpoint that the run is resumed from."""

PREVIOUS = Path("checkpoints") / "previous.ckpt"
"""The checkpoint before that, for the case that the last one is damaged."""

STABLE = Path("checkpoints") / "stable.ckpt"
"""The checkpoint from before the rate begins to fall, with `lr_schedule=wsd`."""

BEST = Path("checkpoints") / "best.ckpt"
"""The checkpoint with the best figure on the validation images."""

RESULT = Path("result.json")
"""The figures of a finished run, or the error of a failed job of a sweep."""

RECORD = Path(".hydra")
"""The folder of Hydra's record."""

OVERRIDES = RECORD / "overrides.yaml"
"""The overrides that the run was started with."""

CHOICES = RECORD / "hydra.yaml"
"""Hydra's own configuration, with the option that was chosen of each group."""

SWEEP_RECORD = Path("multirun.yaml")
"""Hydra's record of a sweep, in the folder of the sweep."""

SWEEP_TABLE = Path("sweep.csv")
"""Mean and standard deviation over the seeds of a sweep, in the folder of the sweep."""

SWEEP_JOBS = Path("sweep_jobs.csv")
"""One row for each job of a sweep, in the folder of the sweep."""

OF_FILES = {".ckpt", ".csv", ".json", ".log", ".yaml"}
"""Suffixes of the files that a run writes."""


def relative(path: Path, start: Path | None = None) -> Path:
    """Return a path relative to `start`, or unchanged if it lies elsewhere.

    Args:
        path: an absolute path, or one that is relative already.
        start: a folder; the current one by default.
    """
    start = Path.cwd() if start is None else start
    return path.relative_to(start) if path.is_relative_to(start) else path


def run_of(checkpoint: Path) -> Path:
    """Return the folder of the run that saved a checkpoint."""
    return checkpoint.parents[len(LAST.parts) - 1]


def has_checkpoint(folder: Path) -> bool:
    """Return True if a run in `folder` has saved a checkpoint that it can be resumed from."""
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def check_own_files(folder: Path) -> None:
    """Check that what a run reads and writes in its folder are files and folders of its own.

    Through a link, a run in a folder that somebody else has made would write elsewhere. A pipe or a
    device would be read without an end. A folder with the name of a file could not be replaced.

    Raises:
        ConfigError: if something there is a link, neither a file nor a folder, or a folder with the
            name of a file.
    """
    inside = [*folder.glob("*"), *(folder / RECORD).glob("*"), *(folder / LAST.parent).glob("*")]
    for path in inside:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ConfigError(
                f"hydra.run.dir must be a folder of files; {str(path)!r} is a link or a device"
            )
        if path.is_dir() and path.suffix in OF_FILES:
            raise ConfigError(
                f"hydra.run.dir must be a folder of files; {str(path)!r} is a folder; remove it"
            )


@dataclass(frozen=True)
class Snapshot:
    """The record of a run as it was at one moment.

    Args:
        folder: the folder of the run, absolute.
        saved_at: the time at which its last checkpoint was saved, in nanoseconds; None if only the
            previous one is there.
        files: the files of the record and their contents.
    """

    folder: Path
    saved_at: int | None
    files: dict[Path, bytes]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return a snapshot of the run in `folder`, which must have a checkpoint."""
        folder = folder.absolute()
        files = {file: file.read_bytes() for file in (folder / RECORD).glob("*.yaml")}
        return cls(folder, _saved_at(folder), files)

    def restore(self) -> None:
        """Restore the record, unless another checkpoint has been saved since."""
        if _saved_at(self.folder) == self.saved_at:
            for file, content in self.files.items():
                file.write_bytes(content)


def _saved_at(folder: Path) -> int | None:
    """Return the time at which the last checkpoint was saved, in nanoseconds; None without one."""
    last = folder / LAST
    return last.stat().st_mtime_ns if last.exists() else None
