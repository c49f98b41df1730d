"""The schema of a checkpoint."""

import os
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from contnet.errors import ConfigError
from contnet.networks.continuous import ContinuousNet


def depth(network: nn.Module) -> dict[str, Any] | None:
    """What a checkpoint says of the ODE blocks' nodes and steps, which the configuration of a run only begins with."""
    if not isinstance(network, ContinuousNet):
        return None
    basis = network.basis
    nodes = {"basis": basis.name, "n_basis": basis.n_basis}
    return {**nodes, "n_time_steps": network.n_time_steps, "n_refined": network.n_refined}


def make_room(network: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Give the network the nodes of the checkpoint, so that its weights fit, and its steps, or as many times more of
    them as the network is configured with on each node's interval."""
    saved = checkpoint["contnet"]["depth"]
    if not isinstance(network, ContinuousNet) or saved is None:
        return
    trained_per = checkpoint["contnet"]["config"]["scheme"]["n_time_steps_per"]
    n_time_steps = max(1, saved["n_time_steps"] * network.n_time_steps_per // trained_per)
    network.make_room(**{**saved, "n_time_steps": n_time_steps})


METADATA = {"config", "classes", "depth"}


def load_checkpoint(path: str) -> dict[str, Any]:
    """A checkpoint of ours: Lightning's dictionary, with the run's configuration under `contnet`.

    Nothing in the file is executed: it is read with `weights_only=True`, and the configuration is plain containers.
    """
    if not Path(path).is_file():
        raise ConfigError(f"ckpt_path must be a checkpoint file; there is none at {path!r}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = (
            "damaged or no checkpoint, or holds objects that would have to be executed to be read"
        )
        raise ConfigError(
            f"ckpt_path must be a checkpoint that train.py wrote; {path!r} is {reason}"
        ) from error
    ours = checkpoint.get("contnet") if isinstance(checkpoint, dict) else None
    if not isinstance(ours, dict) or "state_dict" not in checkpoint or not ours.keys() >= METADATA:
        raise ConfigError(
            f"ckpt_path must be a checkpoint that train.py wrote; {path!r} is another program's"
        )
    return checkpoint


def trained_config(checkpoint: dict[str, Any], dataset: DictConfig | None = None) -> DictConfig:
    """The configuration of the run that wrote a checkpoint, with what `dataset` gives in place of its own."""
    config = OmegaConf.create(checkpoint["contnet"]["config"])
    for key, value in ((str(key), value) for key, value in (dataset or {}).items()):
        if value is not None and key not in config.dataset:
            raise ConfigError(
                f"dataset.{key} must be left out: {config.dataset._target_} has no {key}"
            )
        if value is not None:
            config.dataset[key] = value
    return config


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, and that hold nothing to execute."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write beside the old file, make sure that it is on the disk, and put it in the old one's place."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        content = BytesIO()
        torch.save(checkpoint, content)
        try:
            with unfinished.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain containers, whatever the caller wants of it."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)
