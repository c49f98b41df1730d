"""Networks and data sets by name: those of this package, and the user's own.

A network of the user's own is any module that takes `in_channels` and `num_classes`. Data of the
user's own are an `ImageData`, or data sets of PyTorch. The keys that all data sets share go to the
constructor where it takes them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, open_dict
from torch import nn

from contnet.commands.failures import config_errors
from contnet.commands.instantiate import accepted, check_kind, factory
from contnet.data import ImageData
from contnet.data.datasets import from_datasets
from contnet.errors import ConfigError, described
from contnet.runs.names import TRACEBACK
from contnet.runs.trust import DOWNLOADED

BATCHES = ("batch_size", "test_batch_size", "val_size", "split_seed", "num_workers")
"""Keys of conf/batches.yaml that every data set needs."""

SHARED = (*BATCHES, "n_train")
"""All keys of conf/batches.yaml."""


def name_of(key: str, node: DictConfig) -> str:
    """Return the name of the class or function that a node names.

    Raises:
        ConfigError: if it is missing.
    """
    if node.get("_target_") is None:
        raise ConfigError(f"{key}._target_ must be given, as {key}._target_=package.module.Name")
    return str(node._target_)


def is_of_contnet(model: DictConfig) -> bool:
    """Return True for a network of this package, which computes images of any channels."""
    return name_of("model", model).startswith("contnet.")


def rate_of(model: DictConfig) -> str:
    """Return the name of the user's own rate in a network's node, or "" where there is none."""
    rate = model.get("rate")
    return name_of("model.rate", rate) if isinstance(rate, DictConfig) else ""


def network_factory(model: DictConfig) -> Callable[..., nn.Module]:
    """Return a function of `in_channels` and `num_classes` that makes the network of a node.

    Raises:
        ConfigError: if a name cannot be imported; the function itself, if the network does not take
            the two arguments, or an option is not allowed.
    """
    name_of("model", model)
    options, rates = model, {}
    if rate_of(model):
        options = _without(model, "rate")
        rates = {"rate": _rate_factory(model.rate)}
    make = factory("model", options)

    def made(*, in_channels: int, num_classes: int) -> nn.Module:
        with _needed("model", model, "in_channels", "num_classes"):
            network: nn.Module = make(in_channels=in_channels, num_classes=num_classes, **rates)
        check_kind("model", model, network, nn.Module, "a torch.nn.Module")
        return network

    return made


def _rate_factory(node: DictConfig) -> Callable[..., nn.Module]:
    make = factory("model.rate", node)

    def rate(*, channels: int) -> nn.Module:
        with _needed("model.rate", node, "channels"):
            made: nn.Module = make(channels=channels)
        check_kind("model.rate", node, made, nn.Module, "a torch.nn.Module")
        return made

    return rate


@contextmanager
def _needed(key: str, node: DictConfig, *arguments: str) -> Iterator[None]:
    """Say that a class must take an argument, where it refuses one that no user has typed."""
    try:
        yield
    except ConfigError as error:
        for argument in arguments:
            if str(error).startswith(f"{key}.{argument} is not an option of "):
                raise ConfigError(
                    f"{key}._target_ must take {argument}; {node._target_} has no such argument"
                ) from error
        raise


def load_data(dataset: DictConfig, *, download: bool = True) -> ImageData:
    """Return the data set of a node, without reading more than its constructor does.

    Args:
        dataset: the node.
        download: false downloads nothing, unless the key `download` of the node says so.

    Raises:
        ConfigError: if an option is not allowed, or it makes something else than data.
    """
    name = name_of("dataset", dataset)
    shared = {key: dataset[key] for key in SHARED if key in dataset}
    is_refused = name in DOWNLOADED and not download and "download" not in dataset
    refusal = {"download": False} if is_refused else {}
    make = factory("dataset", _without(dataset, *SHARED), **refusal)
    made: Any = make(**accepted(make, **shared))
    if isinstance(made, ImageData):
        return made
    for key in BATCHES:
        if key not in shared:
            raise ConfigError(
                f"dataset.{key} must be given; the line `defaults: [/batches@_here_, _self_]` in "
                "the YAML of the data set gives it a value"
            )
    try:
        with config_errors("dataset"):
            return from_datasets(made, name, **shared)
    except ConfigError:
        raise
    except Exception as error:  # of the user's own data set, of which an image has been read
        raise ConfigError(
            f"dataset: {name} cannot be used; {described(error)}; {TRACEBACK}"
        ) from error


def _without(node: DictConfig, *keys: str) -> DictConfig:
    """Return a node without some of its keys; the others still refer to other groups."""
    copied = node.copy()
    with open_dict(copied):
        for key in keys:
            copied.pop(key, None)
    return copied
