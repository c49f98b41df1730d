"""A job: one execution of a command's function, alone or as a part of a sweep.

A job holds all that the function needs from Hydra in addition to the configuration. No other
module of this package asks Hydra for it.
"""

import json
import logging
from contextlib import AbstractContextManager, chdir, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from contnet.runs.folder import RESULT, has_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One execution of a command's function.

    Args:
        folder: the folder that it writes to, absolute.
        start: the folder in which the command was started, absolute.
        sweeping: True for a job of a sweep (-m).
        overrides: its overrides, without those of Hydra's own keys.
        choices: the chosen option of each group; several are joined by commas.
        config_dirs: the user's own folders of options, given as --config-dir, absolute.
    """

    folder: Path
    start: Path
    sweeping: bool
    overrides: tuple[str, ...]
    choices: dict[str, str]
    config_dirs: tuple[Path, ...] = ()

    @classmethod
    def of_hydra(cls) -> Self:
        """Return the job that Hydra is executing in this process."""
        hydra = HydraConfig.get()
        # As they were typed: what they refer to is another configuration than Hydra's own.
        overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        return cls(
            folder=Path(hydra.runtime.output_dir),
            start=Path(hydra.runtime.cwd),
            sweeping=hydra.mode == RunMode.MULTIRUN,
            overrides=tuple(overrides),
            choices={
                str(group): option if isinstance(option, str) else ",".join(option or ())
                for group, option in hydra.runtime.choices.items()
            },
            config_dirs=tuple(
                Path(source.path)
                for source in hydra.runtime.config_sources
                if source.provider == "command-line"
            ),
        )

    def in_start_folder(self) -> AbstractContextManager[None]:
        """Return a context in the folder in which the command was started.

        With hydra.job.chdir=true, Hydra changes to the folder of the job. Relative paths that the
        user has typed, or a run has recorded, would then lead elsewhere.
        """
        has_left = Path.cwd() == self.folder.resolve() and self.folder != self.start
        return chdir(self.start) if has_left else nullcontext()

    def __str__(self) -> str:
        return f"job {self.folder.name} ({' '.join(self.overrides)})"

    @property
    def has_checkpoint(self) -> bool:
        """True if a run in the folder of the job has saved a checkpoint."""
        return has_checkpoint(self.folder)

    def earlier_result(self) -> dict[str, Any] | None:
        """Return the result of this job of a sweep if an earlier run of the sweep has finished it.

        Otherwise, and for a single run, return None.
        """
        result = self.folder / RESULT
        if not self.sweeping or not result.exists():
            return None
        try:
            earlier: dict[str, Any] = json.loads(result.read_text())
        except ValueError:  # a damaged file says nothing of how the job ended
            return None
        if "error" in earlier or earlier.get("overrides") != list(self.overrides):
            return None
        log.info(f"{self} is finished already")
        return earlier
