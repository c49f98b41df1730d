"""The first lines of a training: what is trained, on which images, where, and how."""

import logging
import textwrap
from collections import Counter

from omegaconf import DictConfig
from pytorch_lightning import Trainer
from torch import nn

from contnet.commands.job import Job
from contnet.data import ImageData
from contnet.metrics import n_parameters
from contnet.ode.depth_time import DepthTime, depth_time
from contnet.ode.schemes import Scheme
from contnet.ode.statistics import provided
from contnet.runs.folder import relative
from contnet.runs.provenance import machine

log = logging.getLogger(__name__)

COLUMNS = 80


def announce(
    config: DictConfig, job: Job, network: nn.Module, data: ImageData, trainer: Trainer
) -> None:
    """Log what is about to be trained, in lines of at most 80 columns, in one process."""
    if not trainer.is_global_zero:
        return
    for line in (
        _network(config, job, network),
        _images(job, data),
        _place(config, job, trainer),
    ):
        # A path is not broken, so that it can be copied.
        wrapped = textwrap.wrap(
            line, COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        log.info("\n".join(wrapped))


def _network(config: DictConfig, job: Job, network: nn.Module) -> str:
    name = job.choices.get("model", "own")
    name = type(network).__name__ if name == "own" else name
    depth = depth_time(network)
    if depth is not None:
        shape = _blocks(depth, len(provided(network)))
    else:
        shape = f"depth {config.model.depth}" if config.model.get("depth") else ""
    parts = [shape] if shape else []
    return f"{name}: {'; '.join([*parts, f'{n_parameters(network):,} parameters'])}"


def _blocks(depth: DepthTime, n_manifestations: int) -> str:
    kinds = Counter(
        f"{_number(block.n_basis, 'node')} ({block.basis.name}), {block.scheme.name}"
        + (f" in {_number(block.n_time_steps, 'step')}" if isinstance(block.scheme, Scheme) else "")
        for block in depth.blocks
    )
    text = "; ".join(f"{_number(n, 'ODE block')} of {kind}" for kind, n in kinds.items())
    return text + (f", trained in {n_manifestations} manifestations" if n_manifestations else "")


def _images(job: Job, data: ImageData) -> str:
    n_val = 0 if data.val is None else len(data.val)
    return (
        f"{job.choices.get('dataset', 'images')}: {len(data.train):,} training, {n_val:,} "
        f"validation and {len(data.test):,} test images of {data.num_classes} classes"
    )


def _place(config: DictConfig, job: Job, trainer: Trainer) -> str:
    n = trainer.world_size
    processes = f" in {n} processes" if n > 1 else ""
    return (
        f"{_number(trainer.max_epochs or 0, 'epoch')} on "
        f"{machine(trainer.strategy.root_device)}{processes}; "
        f"precision {trainer.precision}; folder {relative(job.folder, job.start)}"
    )


def _number(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
