"""Files of weights, which contnet itself computes, in any manifestation."""

import copy
from pathlib import Path
from typing import Any

from contnet.export.graph import DTYPES
from contnet.export.model import Model, Runtime
from contnet.serving.loading import load


def write(path: Path, model: Model) -> None:
    """Write a network to a file: see `TrainedNetwork.save`."""
    copy.deepcopy(model.network).to(DTYPES[model.precision]).save(path)


def read(path: Path, trust: Any = ()) -> Runtime:
    """Return the function that contnet computes from a file, with the modules in `trust`."""
    network = load(path, trust)
    return lambda images: network(images).float()
