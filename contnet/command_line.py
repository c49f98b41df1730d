"""The shell around an entry point: what is wrong with a command is told in one line, and leaves nothing behind.

This module and the entry points are imported before torch is, so that a typing error is answered at once.
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from contnet import resume
from contnet.errors import ConfigError, Refusal, RunError, StopRun
from contnet.heap import keep_freed_memory
from contnet.processes import rank
from contnet.resume import RunFolder
from contnet.sweep_summary import SweepSummary, write_summary

CONF = Path(__file__).resolve().parents[1] / "conf"


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """`hydra.main` for a function of the configuration, with errors as above. HYDRA_FULL_ERROR=1 shows tracebacks."""

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        begun = False

        @wraps(task)
        def job(config: DictConfig) -> Any:
            nonlocal begun
            begun = True
            folder = Path(HydraConfig.get().runtime.output_dir)
            keep_freed_memory()
            try:
                return task(config)
            except StopRun as stop:
                os.chdir(HydraConfig.get().runtime.cwd)
                if rank() == 0:
                    print(f"{stop.reason}; {resume.how_to_resume(config_name, folder)}", file=sys.stderr)
                raise
            except (ConfigError, RunError, OmegaConfBaseException) as error:
                os.chdir(HydraConfig.get().runtime.cwd)  # out of a folder that may go
                sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
                if rank() == 0 and not isinstance(error, RunError) and not sweeping:
                    _remove_unused(folder, {".hydra", f"{config_name}.log"})
                # Hydra would add lines of its own. A sweep goes on with its next job and reports at its end; what its
                # jobs raise has to travel between processes, which not every error can.
                if sweeping:
                    raise ConfigError(explain(error)) from None
                if wants_traceback:
                    raise
                if isinstance(error, RunError):
                    _fail(f"{error}\n{resume.how_to_resume(config_name, folder)}")
                _fail(explain(error))

        application = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)
        wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"

        @wraps(task)
        def main() -> None:
            nonlocal begun
            begun = False
            os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints the error itself and exits
            try:
                if config_name == "train":
                    sys.argv[1:] = resume.with_newest_checkpoint(sys.argv[1:])
                sys.argv[1:] = _for_this_process(sys.argv[1:])
                application()
            except KeyboardInterrupt:
                _fail("interrupted", code=130)
            except Refusal as refusal:
                _fail(refusal.reason)
            except Exception as error:
                if isinstance(error, OSError) and not isinstance(error, HydraException) and not begun:
                    _fail(f"hydra.run.dir must be a folder that can be written to; {error}")
                if SweepSummary.directory is not None:
                    write_summary(SweepSummary.directory)
                    _remove_unused(SweepSummary.directory, {"multirun.yaml"})
                if wants_traceback or not _is_the_users(error):
                    raise
                _fail(explain(error))
            finally:
                RunFolder.restore()

        return main

    return decorate


def _for_this_process(overrides: list[str]) -> list[str]:
    """A run has one folder, the leading process's: the others make none and write nothing."""
    if rank() == 0:
        return overrides
    silent = ["hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
    if {"-m", "--multirun"} & set(overrides) and "hydra.sweep.dir" not in map(resume.key_of, overrides):
        unused = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, unused, ignore_errors=True)
        silent.append(f"hydra.sweep.dir={unused}")
    return [*(o for o in overrides if resume.key_of(o) != "hydra.run.dir"), "hydra.run.dir=.", *silent]


def _is_the_users(error: Exception) -> bool:
    """Whether an error is about what was typed, rather than a fault of the program's."""
    about_groups = isinstance(error, ValueError) and str(error).startswith("Config group override")
    return about_groups or isinstance(error, HydraException | OmegaConfBaseException | ConfigError | RunError)


def explain(error: BaseException) -> str:
    """What an error of Hydra's or OmegaConf's means for the one who typed the command, in one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        options = sorted(error.options or ())
        if not options:  # Hydra names none that are in folders of a group
            group, _, option = error.missing_cfg_file.partition("/")
            options = options_of(group)
        if options and "/" in error.missing_cfg_file:
            return f"{group}={option} is not an option; choose from {', '.join(options)}"
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return "a group must be given the name of one of its options, or left out as in ~logger; got null"
    if isinstance(error, OverrideParseException):
        return f"{error.override} is no override; it must be key=value, with lists as [a,b] and odd characters quoted"
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, MissingMandatoryValue):
        return f"{cause.full_key} must be given, as {cause.full_key}=..."
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, Container):
        return _explain_unknown_key(str(cause.full_key), cause.parent_node)
    return " ".join(str(error).split())


def options_of(group: str) -> list[str]:
    """What `group=...` may be, options in folders of the group included. An underscore opens the name of a file that is
    only a part of others."""
    files = [file for file in (CONF / group).rglob("*.yaml") if not file.name.startswith("_")]
    return sorted(str(file.relative_to(CONF / group).with_suffix("")) for file in files)


def _explain_unknown_key(key: str, parent: Container) -> str:
    root = OmegaConf.to_container(parent._get_root())
    known = [name for name in _keys(root) if not name.startswith("hydra.")]
    likely = [name for name in known if name.rpartition(".")[2] == key]
    likely += get_close_matches(key, [name for name in known if not key.startswith(f"{name}.")], n=1, cutoff=0.75)
    siblings = [name for name in _keys(OmegaConf.to_container(parent)) if "." not in name and name != "hydra"]
    hint = f"did you mean {' or '.join(dict.fromkeys(likely))}?" if likely else f"there are {', '.join(siblings)}"
    return f"{key} is not a key; {hint}"


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys that a user may set."""
    if isinstance(config, dict):
        for key, value in config.items():
            if not str(key).startswith("_"):
                yield f"{prefix}{key}"
                yield from _keys(value, f"{prefix}{key}.")


def _remove_unused(folder: Path, leftovers: set[str]) -> None:
    """Take back a folder that Hydra has made and nothing was written to; folders around it go with it once empty."""
    if not folder.is_dir() or not {entry.name for entry in folder.iterdir()} <= leftovers:
        return
    shutil.rmtree(folder)
    for parent in folder.absolute().parents:
        if parent == Path.cwd() or any(parent.iterdir()):
            return
        parent.rmdir()


def _fail(message: str, code: int = 1) -> NoReturn:
    if rank() == 0:
        print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
