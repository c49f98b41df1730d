"""From checkpoints to objects: the network that one holds, with its weights.

A checkpoint may be somebody else's: nothing in it is executed, and its configuration passes the checks of `build`.
"""

import copy
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from torch import nn

from contnet.commands import build
from contnet.commands.failures import naming
from contnet.data import ImageData
from contnet.errors import ConfigError
from contnet.ode.block import ODEBlock
from contnet.runs import checkpoint as checkpoints
from contnet.runs import resume
from contnet.runs.checkpoint import Record


def restore_network(checkpoint: dict[str, Any], config: DictConfig, data: ImageData) -> nn.Module:
    """The network that a checkpoint holds, with its weights."""
    restored = build.network(config, data)
    for block in restored.modules():
        if isinstance(block, ODEBlock):
            block.gradient = (
                "backprop"  # the one that can do with every basis; no gradient will be asked for
            )
    _load_weights(restored, checkpoint, config)
    return restored


def unfinished_job(config: DictConfig) -> DictConfig:
    """The configuration of a job of a sweep, resumed from the checkpoint of an earlier run of the same job if there is
    one.

    Raises:
        ConfigError: if the job's folder holds another one.
    """
    last = Path(config.run_dir) / resume.LAST
    if HydraConfig.get().mode != RunMode.MULTIRUN or not last.exists():
        return config
    earlier = Record.of(checkpoints.load(str(last))).config
    different = resume.difference(config, earlier)
    if earlier["ckpt_path"] not in (config.ckpt_path, str(Path(earlier["run_dir"]) / resume.LAST)):
        different = f"ckpt_path: {earlier['ckpt_path']}, here {config.ckpt_path}"
    if different:
        raise ConfigError(
            f"hydra.sweep.dir and hydra.sweep.subdir must lead to other folders than {config.run_dir!r}, which holds a "
            f"run with another configuration ({different})"
        )
    config = config.copy()
    config.ckpt_path = str(last)
    return config


def check_resumable(config: DictConfig, network: nn.Module) -> None:
    """Refuse to resume from a checkpoint that the network of the configuration cannot go on from."""
    if config.ckpt_path is None:
        return
    checkpoint = checkpoints.load(config.ckpt_path)
    trained = checkpoints.trained_config(Record.of(checkpoint))
    basis, trained_in = (OmegaConf.select(c, "model.basis") for c in (config, trained))
    if (
        basis and trained_in and basis != trained_in
    ):  # a network without one is told from another below
        raise ConfigError(
            f"model.basis must be {trained_in}, as of the run that ckpt_path is of, got {basis}; "
            "python evaluate.py project.basis=... project.save=true goes over to another"
        )
    # What the optimizer's state in the checkpoint is of. The oldest checkpoints know of no decay_norm_and_bias.
    for key in ("_target_", "decay_norm_and_bias"):
        wanted, trained_with = (c.optimizer.get(key, True) for c in (config, trained))
        if wanted != trained_with:
            raise ConfigError(
                f"optimizer.{key} must be {trained_with}, as of the run that ckpt_path is of, got {wanted}"
            )
    _load_weights(copy.deepcopy(network), checkpoint, config)
    done = checkpoint["epoch"] + 1
    if config.trainer.max_epochs < done:
        raise ConfigError(
            f"epochs must be at least {done}, the epochs that ckpt_path has done, got {config.epochs}"
        )


def _load_weights(network: nn.Module, checkpoint: dict[str, Any], config: DictConfig) -> None:
    with naming("scheme"):
        checkpoints.resize(network, Record.of(checkpoint), checkpoints.steps_per_node(config))
    try:
        network.load_state_dict(checkpoints.weights(checkpoint))
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise ConfigError(
            f"ckpt_path must be a checkpoint of the network that model and dataset describe; {first[0].strip()}"
        ) from error
