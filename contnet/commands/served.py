"""The trained network of a command that uses one: loaded, on a device, in a manifestation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig

from contnet.commands.failures import config_errors
from contnet.errors import ConfigError
from contnet.serving.loading import load
from contnet.serving.trained import TrainedNetwork

DEVICES = ("auto", "cpu", "cuda", "mps")


def served_network(config: DictConfig) -> TrainedNetwork:
    """Return the network that `ckpt_path` names, on `device`.

    Raises:
        ConfigError: if it cannot be loaded, or there is no such device.
    """
    device = _device(config.device)
    with called("ckpt_path"):
        return load(str(config.ckpt_path), config.trust).to(device)


@contextmanager
def called(name: str) -> Iterator[None]:
    """Call a file by the name of its key, which contnet's functions call `path`.

    Raises:
        ConfigError: instead of a ValueError.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        ours = f"{name}{message.removeprefix('path')}" if message.startswith("path") else message
        raise ConfigError(ours) from error


def set_manifestation(network: TrainedNetwork, config: DictConfig) -> None:
    """Set the scheme, the steps and the tolerance that a configuration asks for.

    Raises:
        ConfigError: if one of them is not allowed.
    """
    given = {key: value for key, value in config.manifestation.items() if value is not None}
    if given and network.manifestation is None:
        key = next(iter(given))
        raise ConfigError(f"{key} must be left out: the network has no ODE blocks to integrate")
    with config_errors(""):
        if given:
            network.set_manifestation(**given)


def _device(name: str) -> torch.device:
    """Return the device of a name.

    Raises:
        ConfigError: if there is none of that name on this machine.
    """
    kind = str(name).partition(":")[0]
    present = {"cpu", "auto"}
    present |= {one for one in ("cuda", "mps") if getattr(torch, one).is_available()}
    if kind not in DEVICES:
        raise ConfigError(f"device must be one of {', '.join(DEVICES)}, got {name!r}")
    if kind not in present:
        raise ConfigError(f"device={name} is not on this machine; device=cpu is")
    if kind == "auto":
        kind = name = next((one for one in ("cuda", "mps") if one in present), "cpu")
    try:
        return torch.empty(0, device=torch.device(name)).device
    except RuntimeError as error:
        raise ConfigError(f"device={name} is not on this machine; device={kind} is") from error
