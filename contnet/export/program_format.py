"""Files of torch.export, which PyTorch computes without contnet."""

from pathlib import Path
from typing import Any

import torch

from contnet.export.graph import quiet_torch, traced
from contnet.export.model import Model, Runtime


def write(path: Path, model: Model) -> None:
    """Write a network to a file.

    Raises:
        ConfigError: if torch.export cannot trace the network.
    """
    program = traced(model.network, model.precision)
    with quiet_torch():
        torch.export.save(program, path)


def read(path: Path, trust: Any = ()) -> Runtime:
    """Return the function that PyTorch computes from a file."""
    with quiet_torch():
        return torch.export.load(path).module()
