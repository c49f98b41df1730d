"""Hydra's callback that protects the folders of runs from other commands."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from contnet.commands.overrides import command_to_resume
from contnet.commands.session import current
from contnet.errors import ConfigError, Refusal
from contnet.processes import rank
from contnet.runs.folder import LAST, Snapshot, check_own_files, run_of


class RunFolder(Callback):
    """Refuses a folder that holds a run, and takes snapshots of records before Hydra replaces them.

    Hydra calls it before it makes any folder.

    Raises:
        Refusal: if a command would write to the folder of a run that it does not resume.
    """

    def on_run_start(
        self, config: DictConfig, config_name: str | None = None, **kwargs: Any
    ) -> None:
        session = current()
        if session is None or rank() > 0:
            return
        # hydra.run.dir may refer to other keys of Hydra's, which OmegaConf looks up in HydraConfig.
        HydraConfig.instance().set_config(config)
        folder = Path(config.hydra.run.dir)
        if not (folder / LAST).exists():
            return
        checkpoint = config.get("ckpt_path") if config_name == "train" else None
        if checkpoint is None or Path(str(checkpoint)).resolve() != (folder / LAST).resolve():
            raise Refusal(
                f"hydra.run.dir must be another folder than {str(folder)!r}, which holds a run; "
                f"{command_to_resume(folder)} continues that one"
            )
        try:
            check_own_files(folder)
        except ConfigError as error:
            raise Refusal(str(error)) from error
        session.snapshots = [Snapshot.of(folder)]

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        session = current()
        if session is None or rank() > 0:
            return
        HydraConfig.instance().set_config(config)
        session.sweep = Path(config.hydra.sweep.dir)
        session.snapshots = [Snapshot.of(run_of(path)) for path in session.sweep.rglob(str(LAST))]
