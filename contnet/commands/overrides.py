"""Overrides: the words `key=value` of a command line, in Hydra's grammar.

This module is imported before torch is.
"""

import atexit
import re
import shlex
import shutil
import tempfile
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from contnet.errors import ConfigError
from contnet.processes import rank
from contnet.runs.folder import LAST, relative, run_of
from contnet.runs.resume import choices_of, newest_checkpoint, overrides_of

MULTIRUN = {"-m", "--multirun"}
"""The flags that ask for a sweep."""


def key_of(override: str) -> str:
    """Return the key of an override, which changes it, adds it (+, ++) or deletes it (~)."""
    return override.partition("=")[0].lstrip("+~")


def value_of(key: str, overrides: list[str]) -> str | None:
    """Return the value of a key, the last one if there are several.

    It is None if no override has the key. It is also None if Hydra cannot parse the override: Hydra
    reports that itself.
    """
    given = [override for override in overrides if key_of(override) == key and "=" in override]
    try:
        return str(OverridesParser.create().parse_override(given[-1]).value()) if given else None
    except HydraException:
        return None


def override_of(key: str, path: Path | str) -> str:
    """Return the override that sets a key to a path, quoted where Hydra needs that."""
    plain = f"{key}={path}"
    # In quotes, backslashes stand for themselves except before a quote.
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", str(path)).replace("'", r"\'")
    return plain if value_of(key, [plain]) == str(path) else f"{key}='{escaped}'"


def command_to_resume(folder: Path | str) -> str:
    """Return the shell command that resumes the training run in `folder`."""
    return f"python train.py ckpt_path=last {shlex.quote(override_of('hydra.run.dir', folder))}"


def how_to_resume(command: str, folder: Path, start: Path) -> str:
    """Return a line that says how to resume a command that has ended early.

    Args:
        command: `train` or `evaluate`.
        folder: the folder of its run, absolute.
        start: the folder in which the command was started.
    """
    if command == "evaluate":
        return "the finished parts of the study are saved; to resume, run the same command again"
    if not (folder / LAST).exists():
        return "no checkpoint was saved yet"
    return f"to resume: {command_to_resume(relative(folder, start))}"


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
    chosen = choices_of(folder)
    replaced = tuple(
        f"{group}." for group in keys & set(chosen) if value_of(group, overrides) != chosen[group]
    )
    return [
        override
        for override in overrides_of(folder)
        if key_of(override) not in keys and not key_of(override).startswith(replaced)
    ]


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
