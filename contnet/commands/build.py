"""From a configuration to objects.

Whatever a configuration gets wrong is a `ConfigError` here: constructors check their own arguments, and the keys that
go to other people's constructors are checked against `RULES`.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ProgressBar
from torch import nn
from torch.optim import Optimizer

from contnet.commands.failures import naming
from contnet.commands.instantiate import instantiate_trusted
from contnet.commands.messages import explain
from contnet.commands.rules import MAY_BE_NULL, RULES
from contnet.commands.several_processes import check_processes
from contnet.data import ImageData
from contnet.data.normalise import Normalise
from contnet.errors import ConfigError
from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import Scheme
from contnet.training.callbacks import refinement
from contnet.training.callbacks.divergence import DivergenceWatch
from contnet.training.callbacks.refinement import DepthRefinement
from contnet.training.checkpoint_io import AtomicCheckpointIO
from contnet.training.classifier import Classifier
from contnet.training.optimizer import parameter_groups

log = logging.getLogger(__name__)

# Measured: a ContinuousNet with batch norm and one node diverges at 4, at the seed's learning rate.
DIVERGING_STEP = 4


def check(config: DictConfig) -> None:
    """Refuse what a configuration gets wrong by itself, before any data is read."""
    try:
        OmegaConf.resolve(config.copy())
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    for key, rule in RULES.items():
        value = OmegaConf.select(config, key, default=...)
        if value is not ... and not (value is None and key in MAY_BE_NULL):
            with naming(key.rpartition(".")[0]):
                rule(key.rpartition(".")[2], value)
    with naming("model"):
        network: nn.Module = instantiate_trusted(
            config.model, in_channels=3, num_classes=10
        )  # whatever the data will have
    # Only their arguments are of interest: any length of an epoch will do, and no images.
    _schedule(config)(_optimizer(config)(network), steps_per_epoch=1000)
    if config.refine.epochs or depth_time(network) is not None:
        _refinement(config, network, probe=(), probe_name="")


def data(config: DictConfig, *, train: bool) -> ImageData:
    """The data set, with its test images read, and those for training where `train`."""
    with naming("dataset"):
        images: ImageData = instantiate_trusted(config.dataset)
        if train:
            images.load_train()
        images.load_test()
    return images


def network(config: DictConfig, data: ImageData) -> nn.Module:
    """The network, for the channels and classes of the data."""
    with naming("model"):
        built: nn.Module = instantiate_trusted(
            config.model, in_channels=data.in_channels, num_classes=data.num_classes
        )
    return built


def warn_of_long_steps(config: DictConfig, network: nn.Module) -> None:
    """Say so if training is likely to diverge."""
    depth = depth_time(network)
    if depth is None or config.model.get("use_skipinit") or not isinstance(depth.scheme, Scheme):
        return
    block = depth.blocks[0]
    step = block.epsilon / block.n_time_steps
    if step >= DIVERGING_STEP:
        log.warning(
            f"model.time_epsilon={block.epsilon:g} over {block.n_time_steps} steps adds {step:g} times the residual "
            "at each, which diverges in training unless model.use_skipinit=true or more steps make it smaller"
        )


def classifier(config: DictConfig, network: nn.Module, data: ImageData) -> Classifier:
    """The network with its loss, optimizer and learning-rate schedule."""
    schedule = _schedule(config)

    def make_schedule(optimizer: Optimizer) -> dict[str, Any]:
        # Counted when it is known between how many processes the images are dealt.
        n_batches = len(data.train_loader(config.seed))
        limit = config.trainer.limit_train_batches
        if limit is not None:  # as Lightning takes it: a number of batches, or a share of them
            n_batches = min(n_batches, limit) if isinstance(limit, int) else int(n_batches * limit)
        if n_batches == 0:
            raise ConfigError(
                f"trainer.limit_train_batches must leave a batch to train on, got {limit}"
            )
        return schedule(
            optimizer, steps_per_epoch=-(-n_batches // config.trainer.accumulate_grad_batches)
        )

    if config.compile and len(data.train.labels) < data.batch_size:
        log.warning(
            f"compile=true compiles nothing: no batch has dataset.batch_size={data.batch_size} images"
        )
    plain: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    return Classifier(
        network,
        Normalise(data.mean, data.std, channels_last=config.channels_last),
        data.classes,
        _optimizer(config),
        make_schedule,
        plain,
        seed=config.seed,
        label_smoothing=config.label_smoothing,
        compile_for=data.batch_size if config.compile else None,
    )


def _optimizer(config: DictConfig) -> Callable[[nn.Module], Optimizer]:
    decay_all = config.optimizer.decay_norm_and_bias
    options = OmegaConf.masked_copy(
        config.optimizer, [key for key in config.optimizer if key != "decay_norm_and_bias"]
    )

    def make(network: nn.Module) -> Optimizer:
        with naming("optimizer"):
            made: Optimizer = instantiate_trusted(options)(
                parameter_groups(network, decay_norm_and_bias=decay_all)
            )
        made.register_load_state_dict_pre_hook(_with_settings_of)
        return made

    return make


def _with_settings_of(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A state to load, with the settings that the optimizer was made with: a run that goes on with another rate or
    weight decay than it had is to have that, where PyTorch would take the checkpoint's."""
    groups = zip(optimizer.param_groups, state["param_groups"], strict=True)
    return {
        **state,
        "param_groups": [{**made, "params": saved["params"]} for made, saved in groups],
    }


def _schedule(config: DictConfig) -> Callable[..., dict[str, Any]]:
    def make(optimizer: Optimizer, *, steps_per_epoch: int) -> dict[str, Any]:
        with naming("lr_schedule"):
            made: dict[str, Any] = instantiate_trusted(config.lr_schedule)(
                optimizer, epochs=config.epochs, steps_per_epoch=steps_per_epoch
            )
        return made

    return make


def trainer(
    config: DictConfig, classifier: Classifier, data: ImageData, *more_callbacks: Callback
) -> Trainer:
    """Lightning's Trainer with the configured callbacks and loggers, and refinement if it is scheduled."""
    specified = dict(config.get("callbacks") or {})
    if data.val is None:
        specified.pop("best", None)
    callbacks = [*more_callbacks, DivergenceWatch()]
    for name, callback in specified.items():
        if callback:
            with naming(f"callbacks.{name}"):
                callbacks.append(instantiate_trusted(callback))
    if config.refine.epochs:
        probe_name = "training images" if data.val is None else "validation"
        callbacks.append(_refinement(config, classifier.network, data.probe_loader(), probe_name))
    has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    loggers = []
    for name, logger in (config.get("logger") or {}).items():
        if logger:
            with naming(f"logger.{name}"):
                loggers.append(instantiate_trusted(logger))
    with naming("trainer"):
        plugins = [AtomicCheckpointIO(), *(config.trainer.plugins or [])]
        built: Trainer = instantiate_trusted(
            config.trainer,
            callbacks=callbacks,
            logger=loggers,
            enable_progress_bar=has_bar,
            plugins=plugins,
        )
    check_processes(built, config)
    obstacle = refinement.unsupported(built, classifier.configure_optimizers()["optimizer"])
    if config.refine.epochs and obstacle:
        raise ConfigError(f"with refine.epochs {obstacle}")
    return built


def _refinement(
    config: DictConfig, network: nn.Module, probe: Iterable[Any], probe_name: str
) -> DepthRefinement:
    if depth_time(network) is None:
        raise ConfigError(
            f"refine.epochs must be [] for {type(network).__name__}, which has no depth-time"
        )
    options: Any = OmegaConf.to_container(config.refine)
    with naming("refine"):
        return DepthRefinement(
            **options,
            n_epochs=config.trainer.max_epochs,
            seed=config.seed,
            probe=probe,
            probe_name=probe_name,
        )
