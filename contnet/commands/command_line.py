"""The shell around an entry point: what is wrong with a command is told in one line, and leaves nothing behind.

This module and the entry points are imported before torch is, so that a typing error is answered at once.
"""

import os
import shutil
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from contnet.commands.memory import keep_freed_memory
from contnet.commands.messages import CONF, explain, is_the_users
from contnet.commands.several_processes import for_this_process
from contnet.commands.sweep_summary import SweepSummary, write_summary
from contnet.errors import ConfigError, Refusal, RunError, StopRun
from contnet.processes import rank
from contnet.runs import resume
from contnet.runs.resume import RunFolder


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
                    print(
                        f"{stop.reason}; {resume.how_to_resume(config_name, folder)}",
                        file=sys.stderr,
                    )
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

        application = hydra.main(
            version_base="1.3", config_path=str(CONF), config_name=config_name
        )(job)
        wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"

        @wraps(task)
        def main() -> None:
            nonlocal begun
            begun = False
            os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints the error itself and exits
            try:
                if config_name == "train":
                    sys.argv[1:] = resume.with_newest_checkpoint(sys.argv[1:])
                sys.argv[1:] = for_this_process(sys.argv[1:])
                application()
            except KeyboardInterrupt:
                _fail("interrupted", code=130)
            except Refusal as refusal:
                _fail(refusal.reason)
            except Exception as error:
                if (
                    isinstance(error, OSError)
                    and not isinstance(error, HydraException)
                    and not begun
                ):
                    _fail(f"hydra.run.dir must be a folder that can be written to; {error}")
                if SweepSummary.directory is not None:
                    write_summary(SweepSummary.directory)
                    _remove_unused(SweepSummary.directory, {"multirun.yaml"})
                if wants_traceback or not is_the_users(error):
                    raise
                _fail(explain(error))
            finally:
                RunFolder.restore()

        return main

    return decorate


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
