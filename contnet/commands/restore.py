"""From checkpoints to objects: the network of a checkpoint, and the run that it resumes.

A checkpoint may be somebody else's. Nothing in it is executed, its configuration has passed
`trust`, and its sizes are compared with its tensors before anything of those sizes is made.
"""

import copy
import logging
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import nn

from contnet.commands import build
from contnet.commands.depth import check_remaining_growth
from contnet.commands.failures import config_errors
from contnet.commands.grammar import program
from contnet.commands.named import rate_of
from contnet.commands.training_state import FITTED, check_training_state
from contnet.data import ImageData
from contnet.errors import ConfigError
from contnet.ode.depth_time import depth_time
from contnet.runs import checkpoint as checkpoints
from contnet.runs.checkpoint import Record
from contnet.runs.folder import LAST, PREVIOUS, has_checkpoint
from contnet.runs.newest import newest_checkpoint
from contnet.runs.resume import difference
from contnet.runs.trust import NETWORKS

log = logging.getLogger(__name__)

LONGEST = 300
"""Characters of a message that lists names from a file."""


def restore_network(checkpoint: dict[str, Any], config: DictConfig, data: ImageData) -> nn.Module:
    """Return the network of a checkpoint with its weights, to evaluate it.

    Args:
        checkpoint: the checkpoint.
        config: the configuration to build the network from.
        data: the images, which have its channels and classes.

    Raises:
        ConfigError: if the weights do not fit the network that `config` describes.
    """
    _check_shapes(checkpoint, config, partial(_to_evaluate, config.model, data))
    network = _to_evaluate(config.model, data)
    _load_weights(network, checkpoint, config)
    return network


def _check_shapes(
    checkpoint: dict[str, Any], config: DictConfig, make: Callable[[], nn.Module]
) -> None:
    """Compare the weights of a checkpoint with those of a network, and take no memory for it."""
    if config.model._target_ in NETWORKS and not rate_of(config.model):
        # Tensors on this device have a shape and no memory.
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing is copied to them
            _load_weights(make(), checkpoint, config)


def _to_evaluate(model: DictConfig, data: ImageData) -> nn.Module:
    network = build.network(model, data)
    depth = depth_time(network)
    for block in depth.blocks if depth else ():
        # Backprop supports every basis, so that theta(t) can be projected. No gradient is computed.
        block.gradient = "backprop"
    return network


def unfinished_job(config: DictConfig) -> DictConfig:
    """Return the configuration of a job of a sweep, resumed if an earlier run has begun the job.

    Raises:
        ConfigError: if the folder of the job holds a run with another configuration.
    """
    folder = Path(config.run_dir)
    if not has_checkpoint(folder):
        return config
    last = newest_checkpoint(folder)
    earlier = Record.of(checkpoints.load(str(last))).config
    different = difference(config, earlier)
    own = [str(Path(earlier["run_dir"]) / name) for name in (LAST, PREVIOUS)]
    if earlier["ckpt_path"] not in (config.ckpt_path, *own):
        different = f"ckpt_path: {earlier['ckpt_path']}, here {config.ckpt_path}"
    if different:
        raise ConfigError(
            "hydra.sweep.dir and hydra.sweep.subdir must lead to other folders than "
            f"{config.run_dir!r}, which holds a run with another configuration ({different})"
        )
    config = config.copy()
    config.ckpt_path = str(last)
    return config


def check_weights(config: DictConfig, data: ImageData) -> None:
    """Check that `ckpt_path`, if that is given, has the classes of the data, and fitting weights.

    This is done before the network is made: the record of a folder may ask for any size.

    Raises:
        ConfigError: if it has others.
    """
    if config.ckpt_path is not None:
        checkpoint = checkpoints.load(config.ckpt_path)
        check_classes(config.ckpt_path, checkpoint, config.dataset, data)
        make = partial(build.network, config.model, data)
        _check_shapes(checkpoint, config, make)


def check_classes(
    path: str, checkpoint: dict[str, Any], dataset: DictConfig, data: ImageData
) -> None:
    """Check that data have the classes that a checkpoint was trained on, in the same order.

    Args:
        path: the checkpoint, for messages.
        checkpoint: its content.
        dataset: the configuration of the data.
        data: the data.

    Raises:
        ConfigError: if the classes are others: labels would mean something else. Or if the images
            have another number of channels, which the network cannot compute with.
    """
    trained = Record.of(checkpoint).classes
    if data.classes != trained:
        key = "dataset.root" if "root" in dataset else "dataset"
        raise ConfigError(
            f"{key} must hold the classes that {path!r} was trained on, {_sample(trained)}; "
            f"it holds {_sample(data.classes)}"
        )
    preprocessing = Record.of(checkpoint).preprocessing
    if preprocessing is not None and preprocessing.shape[0] != data.in_channels:
        raise ConfigError(
            f"dataset must have images of {_channels(preprocessing.shape[0])}, on which {path!r} "
            f"was trained; those of {dataset._target_} have {data.in_channels}"
        )


def _channels(number: int) -> str:
    return "1 channel" if number == 1 else f"{number} channels"


def _sample(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" .. ({len(names)})" if len(names) > 3 else "")


def check_resumable(
    config: DictConfig, network: nn.Module, trainer: Trainer, data: ImageData
) -> None:
    """Check that a run can be resumed from `ckpt_path`, if that is given.

    A warning tells of another number of training images.

    Args:
        config: the configuration to resume with.
        network: the network that it describes; it stays unchanged.
        trainer: the Trainer of the run.
        data: the images of the run.

    Raises:
        ConfigError: if basis, optimizer or shape of the network are not those of the checkpoint,
            the state of its training does not fit, or it has done more epochs than are asked for.
    """
    if config.ckpt_path is None:
        return
    checkpoint = checkpoints.load(config.ckpt_path)
    check_fits(checkpoint, config, network, trainer)
    _tell_of_other_images(checkpoint, data)
    _tell_of_another_epsilon(checkpoint, config)


def _tell_of_other_images(checkpoint: dict[str, Any], data: ImageData) -> None:
    state = checkpoint["loops"][FITTED].get("state_dict", {})
    for loader in state.get("combined_loader", []):
        before, now = loader.get("n_images"), len(data.train)  # early checkpoints have no number
        if isinstance(before, int) and before != now:
            log.warning(f"ckpt_path was trained on {before:,} training images, here are {now:,}")


def _tell_of_another_epsilon(checkpoint: dict[str, Any], config: DictConfig) -> None:
    before, now = (
        model.get("time_epsilon") or model.get("initial_time_d")
        for model in (Record.of(checkpoint).config["model"], config.model)
    )
    if before != now:
        log.warning(
            f"ckpt_path was trained with rates times {before}, here {now}: model.time_epsilon, or "
            "model.initial_time_d where that is null, is another"
        )


def check_fits(
    checkpoint: dict[str, Any], config: DictConfig, network: nn.Module, trainer: Trainer
) -> None:
    """Check that a run can be resumed from a checkpoint: see `check_resumable`."""
    trained = Record.of(checkpoint).config
    _check_basis(config, trained["model"].get("basis"))
    _check_optimizer(config.optimizer, trained["optimizer"])
    resumed = copy.deepcopy(network)
    _load_weights(resumed, checkpoint, config)
    check_remaining_growth(config, resumed)
    check_training_state(checkpoint, config, resumed, trainer)
    done = checkpoint["epoch"] + 1
    if config.trainer.max_epochs < done:
        raise ConfigError(
            f"epochs must be at least {done}, the epochs that ckpt_path has done, "
            f"got {config.epochs}"
        )


def _check_basis(config: DictConfig, before: str | None) -> None:
    basis = OmegaConf.select(config, "model.basis")
    # A network without a basis has other weights, which are compared next.
    if basis and before and basis != before:
        raise ConfigError(
            f"model.basis must be {before}, as in the run of ckpt_path, got {basis}; "
            f"{program('evaluate')} project.basis=... project.save=true changes the basis"
        )


def _check_optimizer(optimizer: DictConfig, trained: dict[str, Any]) -> None:
    """Compare the settings that the state of the optimizer in a checkpoint depends on."""
    for key, default in (("_target_", ""), ("decay_norm_and_bias", True)):
        wanted, before = optimizer.get(key, default), trained.get(key, default)
        if wanted != before:
            raise ConfigError(
                f"optimizer.{key} must be {before}, as in the run of ckpt_path, got {wanted}"
            )


def _load_weights(network: nn.Module, checkpoint: dict[str, Any], config: DictConfig) -> None:
    with config_errors("scheme"):
        checkpoints.resize(network, Record.of(checkpoint), checkpoints.steps_per_node(config))
    try:
        network.load_state_dict(checkpoints.weights(checkpoint))
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise ConfigError(
            "ckpt_path must be a checkpoint of the network that model and dataset describe; "
            f"{first[0].strip()[:LONGEST]}"
        ) from error
