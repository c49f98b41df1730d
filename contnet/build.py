"""From a configuration to objects.

Whatever a configuration gets wrong is a `ConfigError` here: constructors check their own arguments, and the keys that
go to other people's constructors are checked against `RULES`.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.optim import Optimizer

from contnet import arguments, refinement
from contnet.accidents import DivergenceWatch
from contnet.basis import BASES
from contnet.checkpointing import AtomicCheckpointIO
from contnet.classifier import Classifier, Normalise, parameter_groups
from contnet.command_line import explain
from contnet.data import ImageData
from contnet.errors import ConfigError
from contnet.gradient import GRADIENTS
from contnet.networks.continuous import ContinuousNet
from contnet.refinement import DepthRefinement
from contnet.schemes import ADAPTIVE_SCHEMES, SCHEMES, Scheme

log = logging.getLogger(__name__)

# Measured: a ContinuousNet with batch norm and one node diverges at 4, at the seed's learning rate.
DIVERGING_STEP = 4

UNKNOWN_ARGUMENT = re.compile(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")

Rule = Callable[[str, Any], Any]
at_least_0 = partial(arguments.number, minimum=0)
above_0 = partial(arguments.number, minimum=0, exclusive=True)


def _zero(name: str, value: Any) -> None:
    if value:
        raise ValueError(f"{name} must be 0, got {value!r}; limit_train_batches trains on a part of the images")


def _two_shares(name: str, value: Any) -> None:
    if not isinstance(value, ListConfig) or len(value) != 2:
        raise ValueError(f"{name} must be a list of two numbers, got {value!r}")
    for share in value:
        arguments.number(name, share, minimum=0, below=1)


def _batches(name: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (0 < value <= 1 if isinstance(value, float) else value >= 1):
        raise ValueError(f"{name} must be a whole number of batches of at least 1, or a share up to 1.0, got {value!r}")


def _path(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be the path of a checkpoint, got {value!r}")


def _mapping(name: str, value: Any) -> None:
    if not isinstance(value, DictConfig):
        raise ValueError(f"{name} must keep its keys, got {value!r}")


RULES: dict[str, Rule] = {
    "epochs": partial(arguments.integer, minimum=1),
    "channels_last": arguments.boolean,
    "compile": arguments.boolean,
    "seed": partial(arguments.integer, minimum=0),
    "ckpt_path": _path,
    "refine": _mapping,
    "model.basis": partial(arguments.one_of, allowed=BASES),
    "scheme.name": partial(arguments.one_of, allowed=[*SCHEMES, *ADAPTIVE_SCHEMES]),
    "scheme.n_time_steps_per": partial(arguments.integer, minimum=1),
    "scheme.gradient": partial(arguments.one_of, allowed=GRADIENTS),
    "scheme.rtol": above_0,
    "scheme.atol": above_0,
    "optimizer.lr": above_0,
    "optimizer.momentum": partial(arguments.number, minimum=0, below=1),
    "optimizer.weight_decay": at_least_0,
    "optimizer.betas": _two_shares,
    "optimizer.nesterov": arguments.boolean,
    "optimizer.decay_norm_and_bias": arguments.boolean,
    "label_smoothing": partial(arguments.number, minimum=0, below=1),
    "trainer.accumulate_grad_batches": partial(arguments.integer, minimum=1),
    "trainer.gradient_clip_val": at_least_0,
    "trainer.max_epochs": partial(arguments.integer, minimum=1),
    "trainer.limit_train_batches": _batches,
    "trainer.overfit_batches": _zero,
}
MAY_BE_NULL = {"ckpt_path", "trainer.gradient_clip_val", "trainer.limit_train_batches"}

# A configuration may come out of somebody else's checkpoint: nothing outside these is ever called.
TRUSTED = ("contnet.", "torch.optim.", "pytorch_lightning.", "torchmetrics.", "torchvision.")


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
        network: nn.Module = _instantiate(config.model, in_channels=3, num_classes=10)  # whatever the data will have
    # Only their arguments are of interest: any length of an epoch will do, and no images.
    _schedule(config)(_optimizer(config)(network), steps_per_epoch=1000)
    if config.refine.epochs or isinstance(network, ContinuousNet):
        _refinement(config, network, probe=(), probe_name="")


def on_this_machine(config: DictConfig) -> DictConfig:
    """The configuration with what trainer.precision=auto means here, so that a checkpoint says what it was trained in:
    bf16-mixed where the device multiplies in bfloat16 faster than in float32, else 32-true."""
    if config.trainer.precision != "auto":
        return config
    config = config.copy()
    on_gpu = config.trainer.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()
    if on_gpu:
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # With neither of these, bfloat16 is emulated on a CPU, and slow.
        has_units = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        has_bfloat16 = config.trainer.accelerator in ("cpu", "auto") and has_units
    config.trainer.precision = "bf16-mixed" if has_bfloat16 else "32-true"
    return config


def data(config: DictConfig, *, train: bool) -> ImageData:
    """The data set, with its test images read, and those for training where `train`."""
    with naming("dataset"):
        images: ImageData = _instantiate(config.dataset)
        if train:
            images.load_train()
        images.load_test()
    return images


def network(config: DictConfig, data: ImageData) -> nn.Module:
    """The network, for the channels and classes of the data."""
    with naming("model"):
        built: nn.Module = _instantiate(config.model, in_channels=data.in_channels, num_classes=data.num_classes)
    return built


def warn_of_long_steps(config: DictConfig, network: nn.Module) -> None:
    """Say so if training is likely to diverge."""
    if not isinstance(network, ContinuousNet) or config.model.use_skipinit or not isinstance(network.scheme, Scheme):
        return
    block = network.ode_blocks[0]
    step = block.epsilon / network.n_time_steps
    if step >= DIVERGING_STEP:
        log.warning(
            f"model.time_epsilon={block.epsilon:g} over {network.n_time_steps} steps adds {step:g} times the residual "
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
            raise ConfigError(f"trainer.limit_train_batches must leave a batch to train on, got {limit}")
        return schedule(optimizer, steps_per_epoch=-(-n_batches // config.trainer.accumulate_grad_batches))

    if config.compile and len(data.train.labels) < data.batch_size:
        log.warning(f"compile=true compiles nothing: no batch has dataset.batch_size={data.batch_size} images")
    metadata = {"config": OmegaConf.to_container(config, resolve=True, enum_to_str=True), "classes": list(data.classes)}
    return Classifier(
        network,
        Normalise(data.mean, data.std, channels_last=config.channels_last),
        data.num_classes,
        _optimizer(config),
        make_schedule,
        metadata,
        seed=config.seed,
        label_smoothing=config.label_smoothing,
        compile_for=data.batch_size if config.compile else None,
    )


def _optimizer(config: DictConfig) -> Callable[[nn.Module], Optimizer]:
    decay_all = config.optimizer.decay_norm_and_bias
    options = OmegaConf.masked_copy(config.optimizer, [key for key in config.optimizer if key != "decay_norm_and_bias"])

    def make(network: nn.Module) -> Optimizer:
        with naming("optimizer"):
            made: Optimizer = _instantiate(options)(parameter_groups(network, decay_norm_and_bias=decay_all))
        made.register_load_state_dict_pre_hook(_with_settings_of)
        return made

    return make


def _with_settings_of(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A state to load, with the settings that the optimizer was made with: a run that goes on with another rate or
    weight decay than it had is to have that, where PyTorch would take the checkpoint's."""
    groups = zip(optimizer.param_groups, state["param_groups"], strict=True)
    return {**state, "param_groups": [{**made, "params": saved["params"]} for made, saved in groups]}


def _schedule(config: DictConfig) -> Callable[..., dict[str, Any]]:
    def make(optimizer: Optimizer, *, steps_per_epoch: int) -> dict[str, Any]:
        with naming("lr_schedule"):
            made: dict[str, Any] = _instantiate(config.lr_schedule)(
                optimizer, epochs=config.epochs, steps_per_epoch=steps_per_epoch
            )
        return made

    return make


def trainer(config: DictConfig, classifier: Classifier, data: ImageData, *more_callbacks: Callback) -> Trainer:
    """Lightning's Trainer with the configured callbacks and loggers, and refinement if it is scheduled."""
    specified = dict(config.get("callbacks") or {})
    if data.val is None:
        specified.pop("best", None)
    callbacks = [*more_callbacks, DivergenceWatch()]
    for name, callback in specified.items():
        if callback:
            with naming(f"callbacks.{name}"):
                callbacks.append(_instantiate(callback))
    if config.refine.epochs:
        probe_name = "training images" if data.val is None else "validation"
        callbacks.append(_refinement(config, classifier.network, data.probe_loader(), probe_name))
    has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    loggers = []
    for name, logger in (config.get("logger") or {}).items():
        if logger:
            with naming(f"logger.{name}"):
                loggers.append(_instantiate(logger))
    with naming("trainer"):
        plugins = [AtomicCheckpointIO(), *(config.trainer.plugins or [])]
        built: Trainer = _instantiate(
            config.trainer, callbacks=callbacks, logger=loggers, enable_progress_bar=has_bar, plugins=plugins
        )
    _check_processes(built, config)
    obstacle = refinement.unsupported(built, classifier.configure_optimizers()["optimizer"])
    if config.refine.epochs and obstacle:
        raise ConfigError(f"with refine.epochs {obstacle}")
    return built


def _check_processes(trainer: Trainer, config: DictConfig) -> None:
    """Refuse several processes where they would get into each other's way."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    launched = environment is not None and environment.creates_processes_externally
    if HydraConfig.get().mode == RunMode.MULTIRUN and trainer.world_size > 1 and not launched:
        raise ConfigError(
            f"trainer.devices must be 1 in a sweep (-m) that starts its own processes, got {config.trainer.devices}; "
            "start them all with torchrun, or one job per node with hydra/launcher=submitit_slurm"
        )
    if config.trainer.sync_batchnorm and trainer.strategy.root_device.type == "cpu":
        raise ConfigError("trainer.sync_batchnorm must be false on a CPU, where PyTorch cannot synchronise batch norm")


def _refinement(config: DictConfig, network: nn.Module, probe: Iterable[Any], probe_name: str) -> DepthRefinement:
    if not isinstance(network, ContinuousNet):
        raise ConfigError(f"refine.epochs must be [] for {type(network).__name__}, which has no depth-time")
    options: Any = OmegaConf.to_container(config.refine)
    with naming("refine"):
        return DepthRefinement(
            **options, n_epochs=config.trainer.max_epochs, seed=config.seed, probe=probe, probe_name=probe_name
        )


def _instantiate(config: DictConfig, **arguments: Any) -> Any:
    for target in _targets(OmegaConf.to_container(config, resolve=True)):
        if not target.startswith(TRUSTED) or not _is_at_home(target):
            raise ValueError(f"_target_ must name something of {', '.join(TRUSTED)}; got {target!r}")
    return instantiate(config, _convert_="all", **arguments)


def _is_at_home(target: str) -> bool:
    """Whether what a name leads to belongs to a trusted package, and is not just something that one of them imports."""
    try:
        home = getattr(get_object(target), "__module__", None)
    except Exception:  # there is no such thing: Hydra says so better
        return True
    return f"{home}.".startswith(TRUSTED)


def _targets(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if "_target_" in config:
            yield str(config["_target_"])
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from _targets(value)


@contextmanager
def naming(group: str) -> Iterator[None]:
    """Turns the refusal of an argument into a `ConfigError` that names its key."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    except (InstantiationException, ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        if isinstance(error, ConfigError):
            raise
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        message = " ".join(str(cause).split())
        unknown = UNKNOWN_ARGUMENT.match(message)
        if unknown:
            name, key = unknown.groups()
            hint = f"leave it out, as ~{group}.{key} where an experiment gives it"
            raise ConfigError(f"{group}.{key} is no option of {name}; {hint}") from error
        # Our own constructors open a refusal with the argument's name, which is the key.
        first_word = message.partition(" ")[0].rstrip(":")
        is_key = first_word.isidentifier() and not first_word[0].isupper()
        raise ConfigError(f"{group}{'.' if is_key else ': '}{message}" if group else message) from error
