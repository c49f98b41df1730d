"""Overrides that a command adds to those of its command line, and commands to go on with.

This module is imported before torch is.
"""

import atexit
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

from contnet.commands.grammar import key_of, override_of, program, value_of
from contnet.commands.job import Job
from contnet.commands.recorded import (
    Trusted,
    needed_trust,
    obstacle_of,
    recorded_choices,
    recorded_overrides,
)
from contnet.errors import ConfigError
from contnet.processes import rank
from contnet.runs.folder import LAST, PREVIOUS, relative, run_of
from contnet.runs.newest import newest_checkpoint
from contnet.runs.trust import is_trusted, trusted_modules

MULTIRUN = {"-m", "--multirun"}
"""The flags that ask for a sweep."""


def command_to_resume(folder: Path | str, *more: str) -> str:
    """Return the shell command that resumes the training run in `folder`, with more arguments."""
    trust = None if more else needed_trust(Path(folder))
    words = ["ckpt_path=last", override_of("hydra.run.dir", folder), *([trust] if trust else more)]
    return " ".join([program("train"), *map(shlex.quote, words)])


def how_to_resume(command: str, job: Job) -> str:
    """Return a line that says how to resume a command that has ended early.

    Args:
        command: `train`, `evaluate` or another one.
        job: the job that has ended.
    """
    if command == "evaluate":
        return "the finished parts of the study are saved; to resume, run the same command again"
    if command != "train":
        return "to begin again, run the same command"
    if not job.has_checkpoint:
        return "no checkpoint was saved yet"
    # What the record of the run may not repeat has to be typed again.
    typed = [override for override in job.overrides if obstacle_of(override)]
    own = [word for folder in job.config_dirs for word in ("--config-dir", str(folder))]
    folder = relative(job.folder, job.start)
    return f"to resume: {command_to_resume(folder, *typed, *own)}"


def with_newest_checkpoint(overrides: list[str]) -> list[str]:
    """Replace `ckpt_path=last` by the overrides that resume the newest run in its own folder.

    If `hydra.run.dir` is given, the run in that folder is resumed instead. The run keeps the
    overrides that it was started with, except for keys that are given now. If a different option of
    a group is given, the run's overrides of keys in that group are dropped.

    Raises:
        ConfigError: if there is no run to resume, or a sweep is asked for.
    """
    if value_of("ckpt_path", overrides) != "last":
        return overrides
    if MULTIRUN & set(overrides):
        raise ConfigError(
            "ckpt_path=last must be left out of a sweep (-m); to resume a sweep, run its command "
            "again"
        )
    given = value_of("hydra.run.dir", overrides)
    newest = newest_checkpoint(None if given is None else Path(given))
    folder = run_of(newest)
    if newest.name == PREVIOUS.name and rank() == 0:
        print(
            f"{folder / LAST} is damaged or missing; the run is resumed from {newest}, which was "
            "saved before it",
            file=sys.stderr,
        )
    resume = [override_of("ckpt_path", newest.absolute()), override_of("hydra.run.dir", folder)]
    # They go where ckpt_path was: Hydra accepts overrides only on one side of its flags.
    place = [key_of(override) for override in overrides].index("ckpt_path")
    before, after = (
        [o for o in part if key_of(o) not in ("ckpt_path", "hydra.run.dir")]
        for part in (overrides[:place], overrides[place:])
    )
    return [*before, *_kept(folder, overrides), *resume, *after]


def _kept(folder: Path, overrides: list[str]) -> list[str]:
    """Return the recorded overrides of a run that those of a command leave in force."""
    keys = set(map(key_of, overrides))
    chosen = recorded_choices(folder)
    replaced = tuple(
        f"{group}." for group in keys & set(chosen) if value_of(group, overrides) != chosen[group]
    )
    return [
        override
        for override in recorded_overrides(folder, keys, _trusted(overrides))
        if not key_of(override).startswith(replaced)
    ]


def _trusted(overrides: list[str]) -> Trusted:
    """Return a function that says whether the typed overrides trust the name of a class."""
    given = value_of("trust", overrides)
    if given is None:
        return lambda name: False
    modules = trusted_modules(yaml.safe_load(given))
    return lambda name: is_trusted("trust", name, modules)


def for_this_process(overrides: list[str]) -> list[str]:
    """Return the overrides for one of several processes that a launcher has started.

    A run has one folder, in which the leading process writes. The others make no folder and write
    no log.
    """
    if rank() == 0:
        return overrides
    own = [override for override in overrides if key_of(override) != "hydra.run.dir"]
    silent = ["hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
    if MULTIRUN & set(overrides) and "hydra.sweep.dir" not in map(key_of, overrides):
        unused = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, unused, ignore_errors=True)
        silent.append(f"hydra.sweep.dir={unused}")
    return [*own, "hydra.run.dir=.", *silent]
