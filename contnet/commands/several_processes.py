"""Several processes that train together."""

import atexit
import shutil
import tempfile

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from pytorch_lightning import Trainer

from contnet.errors import ConfigError
from contnet.processes import rank
from contnet.runs import resume


def check_processes(trainer: Trainer, config: DictConfig) -> None:
    """Refuse several processes where they would get into each other's way."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    launched = environment is not None and environment.creates_processes_externally
    if HydraConfig.get().mode == RunMode.MULTIRUN and trainer.world_size > 1 and not launched:
        raise ConfigError(
            f"trainer.devices must be 1 in a sweep (-m) that starts its own processes, got {config.trainer.devices}; "
            "start them all with torchrun, or one job per node with hydra/launcher=submitit_slurm"
        )
    if config.trainer.sync_batchnorm and trainer.strategy.root_device.type == "cpu":
        raise ConfigError(
            "trainer.sync_batchnorm must be false on a CPU, where PyTorch cannot synchronise batch norm"
        )


def for_this_process(overrides: list[str]) -> list[str]:
    """A run has one folder, the leading process's: the others make none and write nothing."""
    if rank() == 0:
        return overrides
    silent = ["hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
    if {"-m", "--multirun"} & set(overrides) and "hydra.sweep.dir" not in map(
        resume.key_of, overrides
    ):
        unused = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, unused, ignore_errors=True)
        silent.append(f"hydra.sweep.dir={unused}")
    return [
        *(o for o in overrides if resume.key_of(o) != "hydra.run.dir"),
        "hydra.run.dir=.",
        *silent,
    ]
