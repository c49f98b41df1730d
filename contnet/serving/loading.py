"""Trained networks from files."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from contnet.errors import ConfigError
from contnet.runs import checkpoint as checkpoints
from contnet.runs.checkpoint import Record
from contnet.runs.folder import LAST, has_checkpoint
from contnet.runs.newest import newest_checkpoint
from contnet.runs.trust import trusted_modules
from contnet.serving import weights_file
from contnet.serving.blueprint import Blueprint
from contnet.serving.trained import TrainedNetwork

NEWEST = "last"
"""The word that stands for the newest run."""


def load(path: str | PathLike[str], trust: str | Sequence[str] = ()) -> TrainedNetwork:
    """Return a trained network that is ready for images, on the CPU.

    Nothing in the file is executed, and no data set is read. Weights keep their precision.

    Args:
        path: a checkpoint, a file of weights (.safetensors), the folder of a run, which stands for
            its last checkpoint, or `last` for the newest run in outputs/train.
        trust: modules of your own that the file may use, such as "mynet". The code in them is
            executed.

    Raises:
        ConfigError: if there is no such file, it is damaged or another program's, or it needs a
            module that is not trusted. It is a ValueError.
    """
    trusted = trusted_modules(trust)
    file = file_of(path)
    if file.endswith(weights_file.SUFFIX):
        blueprint, weights = weights_file.load(file)
    else:
        checkpoint = checkpoints.load(file, key="path")
        blueprint, weights = _blueprint(file, checkpoint), checkpoints.weights(checkpoint)
    return TrainedNetwork(blueprint.build(file, weights, trusted), blueprint)


def file_of(path: str | PathLike[str]) -> str:
    """Return the file that a path stands for: see `load`.

    Raises:
        ConfigError: if there is no run.
    """
    if path == NEWEST and not Path(path).exists():
        return str(newest_checkpoint())
    if not Path(path).is_dir():
        return str(path)
    if not has_checkpoint(Path(path)):
        raise ConfigError(
            f"path must be a file, or the folder of one run; {str(path)!r} holds no {LAST}"
        )
    return str(newest_checkpoint(Path(path)))


def _blueprint(path: str, checkpoint: dict[str, object]) -> Blueprint:
    record = Record.of(checkpoint)
    if record.preprocessing is None:
        raise ConfigError(
            f"path: {path!r} does not say how its images are preprocessed: an early version saved "
            "it, and its data set is not one of contnet; resume its run for an epoch"
        )
    return Blueprint(
        model=record.config["model"],
        classes=record.classes,
        preprocessing=record.preprocessing,
        channels_last=record.config["channels_last"],
        depth=record.depth,
        manifestations=record.manifestations,
    )
