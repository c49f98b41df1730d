"""From a configuration of train.py to objects: data, network, classifier, Trainer.

A composed configuration is all that is needed: a notebook builds with these functions as well as
the command does. Every value that is not allowed is a `ConfigError`. Constructors of this package
check their own arguments; `rules` checks the keys that go to the constructors of others.
"""

import logging
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from torch import nn

from contnet.commands.depth import check_depth, growth, random_manifestations
from contnet.commands.depth import refinement as depth_refinement
from contnet.commands.failures import config_errors
from contnet.commands.instantiate import check_kind, instantiate
from contnet.commands.messages import explain
from contnet.commands.named import (
    is_of_contnet,
    load_data,
    name_of,
    network_factory,
    rate_of,
)
from contnet.commands.optimization import optimizer, schedule
from contnet.commands.probe import check_shapes
from contnet.commands.rules import check_keys
from contnet.commands.several_processes import check_processes
from contnet.commands.tracking import check_installed
from contnet.data import ImageData
from contnet.errors import ConfigError
from contnet.ode.block import ODEBlock
from contnet.runs.resume import flat
from contnet.training.callbacks import refinement
from contnet.training.callbacks.compiling import CompilationTime
from contnet.training.callbacks.divergence import DivergenceWatch
from contnet.training.callbacks.plateau import PlateauSteps
from contnet.training.callbacks.tracking import HyperParameters
from contnet.training.checkpoint_io import AtomicCheckpointIO
from contnet.training.classifier import Classifier

log = logging.getLogger(__name__)


def check(config: DictConfig) -> None:
    """Check everything that can be checked before any data is read.

    Raises:
        ConfigError: if a value is not allowed.
    """
    try:
        OmegaConf.resolve(config.copy())
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    check_keys(config)
    check_installed(config)
    name_of("dataset", config.dataset)
    # Constructors check their arguments. For that, any data and epochs of any length will do. For a
    # network of the user's own, which may need its own data, a block stands in.
    make = network_factory(config.model)
    made: nn.Module = ODEBlock(lambda: nn.Linear(1, 1))
    if is_of_contnet(config.model):
        # On this device tensors take no memory, however large a mistyped size is.
        with nullcontext() if rate_of(config.model) else torch.device("meta"):
            made = make(in_channels=3, num_classes=10)
    schedule(config)(optimizer(config.optimizer)(made), steps_per_epoch=1000)
    check_depth(config, made)


def data(dataset: DictConfig, *, train: bool, download: bool = True) -> ImageData:
    """Load a data set: its test images, and its training images if `train`.

    Args:
        dataset: the node of the data set.
        train: load the training images as well.
        download: false downloads nothing, unless the key dataset.download says so.

    Raises:
        ConfigError: if an option of the data set is not allowed, or its files cannot be used.
    """
    images = load_data(dataset, download=download)
    with config_errors("dataset"):
        if train:
            images.load_train()
        images.load_test()
    return images


def network(model: DictConfig, data: ImageData) -> nn.Module:
    """Return a network with random weights, for the channels and classes of the data.

    Raises:
        ConfigError: if an option of the network is not allowed, or a network or rate of the user's
            own returns a wrong shape for one image.
    """
    made = network_factory(model)(in_channels=data.in_channels, num_classes=data.num_classes)
    rate = rate_of(model)
    if rate or not is_of_contnet(model):
        with config_errors("dataset"):
            image = data.normalise(channels_last=False)(data.test_sample(1))
        check_shapes(made, image, data.num_classes, name_of("model", model), rate)
    return made


def classifier(config: DictConfig, network: nn.Module, data: ImageData) -> Classifier:
    """Return a network with its loss, optimizer and learning-rate schedule."""
    make_schedule = schedule(config)
    has_val = data.val is not None and config.trainer.limit_val_batches != 0
    if config.compile and len(data.train) < data.batch_size:
        log.warning(
            "compile=true compiles nothing: "
            f"no batch has dataset.batch_size={data.batch_size} images"
        )
    plain: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    return Classifier(
        network,
        data.normalise(channels_last=config.channels_last),
        data.classes,
        optimizer(config.optimizer),
        # A function: steps are counted once the number of processes is known, in fit.
        lambda made: make_schedule(
            made, steps_per_epoch=_steps_per_epoch(config, data), has_val=has_val
        ),
        plain,
        seed=config.seed,
        label_smoothing=config.label_smoothing,
        compile_for=data.batch_size if config.compile else None,
        manifestations=random_manifestations(config, network),
        preprocessing=data.preprocessing,
    )


def _steps_per_epoch(config: DictConfig, data: ImageData) -> int:
    n_batches = len(data.train_loader(config.seed))
    limit = config.trainer.limit_train_batches
    if limit is not None:  # as Lightning reads it: a number of batches, or a share of them
        n_batches = min(n_batches, limit) if isinstance(limit, int) else int(n_batches * limit)
    if n_batches == 0:
        raise ConfigError(
            f"trainer.limit_train_batches must leave a batch to train on, got {limit}"
        )
    n_accumulated: int = config.trainer.accumulate_grad_batches
    return -(-n_batches // n_accumulated)


def trainer(
    config: DictConfig,
    classifier: Classifier,
    data: ImageData,
    *more_callbacks: Callback,
    sweeping: bool = False,
) -> Trainer:
    """Return Lightning's Trainer with its callbacks and loggers, and refinement if scheduled.

    Args:
        config: the configuration.
        classifier: the classifier to train.
        data: the images to train on.
        more_callbacks: callbacks in addition to those of the configuration.
        sweeping: True for a job of a sweep, which may not start processes of its own.

    Raises:
        ConfigError: if an option of a callback, a logger or the Trainer is not allowed, or options
            exclude each other.
    """
    check_depth(config, classifier.network)  # a network of the user's own was not there before
    without = {"best"} if data.val is None else set()  # nothing to select the best by
    parameters = flat(OmegaConf.to_container(config, resolve=True))
    callbacks: list[Callback] = [*more_callbacks, DivergenceWatch(), HyperParameters(parameters)]
    callbacks += _members("callbacks", config, Callback, "a callback of Lightning", without)
    plan = growth(config)
    if plan:
        probe_name = "training images" if data.val is None else "validation"
        callbacks.append(depth_refinement(config, plan, data.probe_loader(), probe_name))
    if config.compile:  # after a refinement, which has the next batch compiled
        callbacks.append(CompilationTime())
    callbacks.append(PlateauSteps())  # the last: the others show the rate of the epoch
    loggers: list[Logger] = _members("logger", config, Logger, "a logger of Lightning")
    made: Trainer = instantiate(
        "trainer",
        config.trainer,
        callbacks=callbacks,
        logger=loggers,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        plugins=[AtomicCheckpointIO(), *(config.trainer.plugins or [])],
    )
    check_processes(made, config.trainer, classifier.network, sweeping=sweeping)
    obstacle = refinement.unsupported(made, classifier.configure_optimizers()["optimizer"])
    if plan and obstacle:
        raise ConfigError(f"with refine.{plan.key} {obstacle}")
    return made


def _members(
    group: str, config: DictConfig, kind: type, meaning: str, without: Iterable[str] = ()
) -> list[Any]:
    """Return the objects that a group names, except those that are null or in `without`."""
    made = []
    for name, options in (config.get(group) or {}).items():
        if options and name not in without:
            key = f"{group}.{name}"
            made.append(instantiate(key, options))
            check_kind(key, options, made[-1], kind, meaning)
    return made
