"""The shell around a command: it reports an error in one line, and leaves no empty folder behind.

This module and the commands are imported before torch is, so that a mistyped key is reported at
once.
"""

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.utils import env_override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from contnet.commands.grammar import program, with_home, with_manifestation
from contnet.commands.habits import check_alone, check_words
from contnet.commands.job import Job
from contnet.commands.memory import keep_freed_memory
from contnet.commands.messages import CONF, explain, is_the_users
from contnet.commands.output import survive_broken_pipes
from contnet.commands.overrides import for_this_process, how_to_resume, with_newest_checkpoint
from contnet.commands.session import Session, current, session
from contnet.commands.sweep_summary import save_failure, write_summary
from contnet.commands.tracking import own_run
from contnet.errors import ConfigError, Refusal, RunError, StopRun
from contnet.processes import rank
from contnet.runs.claim import LOCK, HeldError, claimed, claims_folders
from contnet.runs.folder import RECORD, SWEEP_RECORD
from contnet.runs.signals import INTERRUPTED, ends_when_told

Task = Callable[[DictConfig, Job], Any]

USING = ("predict", "export")
"""The commands that use a trained network in a manifestation."""


def entry_point(command: str) -> Callable[[Task], Callable[[], None]]:
    """Return a decorator that turns a function of configuration and job into a command.

    The command reads its arguments from `sys.argv` and composes its configuration with Hydra. It
    ends with a message of one line and exit code 1 if it fails for a reason that the user can
    correct. HYDRA_FULL_ERROR=1 shows the traceback of every error.

    Args:
        command: name of the command and of its configuration, such as `train`.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @wraps(task)
        def job(config: DictConfig) -> Any:
            return _execute(command, task, config)

        application = hydra.main(version_base="1.3", config_path=str(CONF), config_name=command)(
            job
        )

        @wraps(task)
        def main() -> None:
            _run(command, application)

        return main

    return decorate


def _run(command: str, application: Callable[[], None]) -> None:
    """Run a command, and end the process with an exit code if it fails."""
    survive_broken_pipes()
    os.environ["MPLBACKEND"] = "agg"  # a notebook's would have to be installed here
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    # Without the variable, Hydra prints errors itself and exits.
    with env_override({"HYDRA_FULL_ERROR": "1"}), session(command, wants_traceback) as opened:
        try:
            check_words(command, sys.argv[1:])
            sys.argv[1:] = with_home(sys.argv[1:])
            if command == "train":
                sys.argv[1:] = with_newest_checkpoint(sys.argv[1:])
            if command in USING:
                check_alone(program(command))
                sys.argv[1:] = with_manifestation(sys.argv[1:])
            sys.argv[1:] = for_this_process(sys.argv[1:])
            application()
            if opened.sweep is not None:
                write_summary(opened.sweep)
        except KeyboardInterrupt:
            _fail("interrupted", code=INTERRUPTED)
        except Refusal as refusal:
            if isinstance(refusal.__cause__, ConfigError | OmegaConfBaseException):
                _remove_unused_run(opened)
            _fail(refusal.reason)
        except Exception as error:
            _answer(error, opened)
            raise


def _execute(command: str, task: Task, config: DictConfig) -> Any:
    """Execute a command's function as Hydra's job, in this process or in a launcher's."""
    job = Job.of_hydra()
    opened = current()
    if opened is not None:
        opened.folder = job.folder
    keep_freed_memory()
    try:
        with ends_when_told(), _own_folder(job), job.in_start_folder(), own_run():
            return task(config, job)
    except StopRun as stop:
        _print(f"{stop.reason}; {how_to_resume(command, job)}")
        raise
    except HeldError as error:
        # Nothing is written to the folder: it is another process's.
        _print(f"{job} is left out: {error}")
        raise ConfigError(str(error)) from None
    except (ConfigError, RunError, OmegaConfBaseException) as error:
        if job.sweeping:
            # The launcher may pickle the error to pass it on, and not every error can be pickled.
            failure = ConfigError(explain(error))
            save_failure(job, failure)
            raise failure from None
        if opened is not None and opened.wants_traceback:
            raise
        # A Refusal is not an Exception. To an Exception, Hydra would add lines of its own.
        reason = explain(error)
        if isinstance(error, RunError):
            reason = f"{error}\n{how_to_resume(command, job)}"
        raise Refusal(reason) from error
    except Exception as error:
        if job.sweeping:
            save_failure(job, error)
        raise


def _own_folder(job: Job) -> AbstractContextManager[None]:
    """Return a context that holds the folder of a job of a sweep.

    The folder of a single run is held from the start of the command. That of a job may be written
    to by a process that a launcher started for an earlier run of the sweep.
    """
    return claimed(job.folder) if job.sweeping and claims_folders() else nullcontext()


def _answer(error: Exception, opened: Session) -> None:
    """End the command with a message if the user can correct the cause of the error."""
    if opened.sweep is not None:
        write_summary(opened.sweep)
        _remove_unused(opened.sweep, {SWEEP_RECORD.name, LOCK})
    elif isinstance(error, ConfigError | OmegaConfBaseException):
        _remove_unused_run(opened)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        if opened.folder is None:
            key = "hydra.run.dir" if opened.sweep is None else "hydra.sweep.dir"
            _fail(f"{key} must be a folder that can be written to; {error}")
    elif is_the_users(error) and not opened.wants_traceback:
        _fail(explain(error))


def _remove_unused_run(opened: Session) -> None:
    # Not in the job: the folder may be the working directory until Hydra has left it.
    if opened.folder is not None and rank() == 0:
        _remove_unused(opened.folder, {RECORD.name, LOCK, f"{opened.command}.log"})


def _remove_unused(folder: Path, leftovers: set[str]) -> None:
    """Remove a folder that holds no more than `leftovers`, and then empty folders around it."""
    if not folder.is_dir() or not {entry.name for entry in folder.iterdir()} <= leftovers:
        return
    shutil.rmtree(folder)
    for parent in folder.absolute().parents:
        if parent == Path.cwd() or any(parent.iterdir()):
            return
        with suppress(OSError):  # another command has made a folder there since
            parent.rmdir()


def _print(message: str) -> None:
    if rank() == 0:
        print(message, file=sys.stderr)


def _fail(message: str, code: int = 1) -> NoReturn:
    _print(f"error: {message}")
    sys.exit(code)
