"""The combinations of settings that are refused for runs of several processes."""

from omegaconf import DictConfig
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import ParallelStrategy
from torch import nn

from contnet.errors import ConfigError
from contnet.ode.depth_time import depth_time
from contnet.processes import world_size


def check_processes(
    trainer: Trainer, options: DictConfig, network: nn.Module, *, sweeping: bool
) -> None:
    """Refuse settings with which several processes would disturb each other.

    Args:
        trainer: the Trainer.
        options: the configuration that it was made from.
        network: the network to train.
        sweeping: True for a job of a sweep.

    Raises:
        ConfigError: if torchrun has started another number of processes than is asked for, a sweep
            would start processes of its own, or batch norm is to be synchronised on a CPU, or
            between processes that choose their own steps.
    """
    if sweeping and trainer.world_size > 1 and not _is_launched(trainer):
        raise ConfigError(
            "trainer.devices must be 1 in a sweep (-m) that starts its own processes, got "
            f"{options.devices}; start them all with torchrun, or one job per node with "
            "hydra/launcher=submitit_slurm"
        )
    if options.sync_batchnorm and trainer.strategy.root_device.type == "cpu":
        raise ConfigError(
            "trainer.sync_batchnorm must be false on a CPU, where PyTorch cannot synchronise "
            "batch norm"
        )
    launched = world_size()
    if launched > 1 and trainer.world_size != launched:
        raise ConfigError(
            f"trainer.devices must be {launched // trainer.num_nodes} on each node: torchrun or "
            f"SLURM has started {launched} processes, and trainer.devices={options.devices} "
            f"trainer.num_nodes={options.num_nodes} stand for {trainer.world_size}"
        )
    depth = depth_time(network)
    if options.sync_batchnorm and depth is not None and depth.is_adaptive:
        raise ConfigError(
            "trainer.sync_batchnorm must be false with an adaptive scheme: each process chooses "
            "its own steps, and the others would wait for its batch norms"
        )


def _is_launched(trainer: Trainer) -> bool:
    """Return True if torchrun or SLURM has started the processes, and not Lightning."""
    strategy = trainer.strategy
    environment = strategy.cluster_environment if isinstance(strategy, ParallelStrategy) else None
    return environment is not None and environment.creates_processes_externally
