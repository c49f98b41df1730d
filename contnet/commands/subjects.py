"""The subjects of a study: the networks of checkpoints, with the images to evaluate them on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import Tensor, nn

from contnet.commands import build
from contnet.commands.checkpoint_paths import checkpoint_paths
from contnet.commands.environment import environment
from contnet.commands.failures import config_errors
from contnet.commands.restore import check_classes, restore_network
from contnet.commands.trust import recorded_config
from contnet.data import ImageData
from contnet.invariance.convergence import N_SAMPLE
from contnet.invariance.manifestation import present
from contnet.invariance.outcome import Batches
from contnet.invariance.plan import Plan
from contnet.invariance.recalibration import N_IMAGES
from contnet.invariance.store import digest
from contnet.invariance.subject import Conditions, Subject
from contnet.runs import checkpoint as checkpoints
from contnet.runs.checkpoint import Record
from contnet.runs.naming import run_names
from contnet.runs.provenance import machine
from contnet.runs.trust import trusted_modules


def load_subjects(config: DictConfig, plan: Plan) -> tuple[list[Subject], list[Subject]]:
    """Load the networks that `ckpt_path` and `sweep.reference` name.

    Returns:
        The subjects to study, and the references to compare them with.

    Raises:
        ConfigError: if there is no such checkpoint, or the plan or the images do not suit a
            network.
    """
    reference = config.sweep.reference
    paths = checkpoint_paths("ckpt_path", config.ckpt_path)
    reference_paths = checkpoint_paths("sweep.reference", reference) if reference else []
    load = _Loader(config)
    everything = [*paths, *reference_paths]
    names = dict(zip(everything, run_names(everything), strict=True))
    subjects = [load(path, names[path]) for path in paths]
    for subject in subjects:
        with config_errors("project"):
            plan.projections(subject.network)
        with config_errors("sweep"):
            plan.manifestations(subject.network)
    return subjects, [load(path, names[path]) for path in reference_paths]


class _Loader:
    """Loads subjects, and the images of equal data sets once.

    Args:
        config: the configuration of evaluate.py.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self._trusted = trusted_modules(config.trust)
        self._images: dict[str, ImageData] = {}

    def __call__(self, path: str, name: str) -> Subject:
        """Load the subject of a checkpoint, whose run has a short name."""
        checkpoint = checkpoints.load(path)
        record = Record.of(checkpoint)
        trained = recorded_config(path, record, self._trusted, self.config.dataset)
        images = self._load_images(trained.dataset)
        check_classes(path, checkpoint, trained.dataset, images)
        trainer = evaluator(trained.trainer.precision, self.config.trainer.accelerator)
        normalise = images.normalise(channels_last=trained.channels_last)
        network = restore_network(checkpoint, trained, images)
        network = network.to(memory_format=normalise.memory_format)
        for module in (network, normalise):
            trainer.precision_plugin.convert_module(module).to(_device(trainer)).eval()
        with config_errors("sweep"):
            present(network)
        return Subject(
            name=path,
            network=network,
            classes=images.classes,
            conditions=_conditions(images, normalise, trainer),
            identity=digest(
                [
                    Path(path).read_bytes(),
                    OmegaConf.to_yaml(trained, resolve=True),
                    images.test.fingerprint(),
                    *environment(_device(trainer), self._trusted),
                ]
            ),
            run=name,
            machine=machine(_device(trainer)),
            # As in result.json: by names and times, files differ between machines.
            test_digest=images.test.fingerprint().hex() if images.test.in_memory else None,
        )

    def _load_images(self, dataset: DictConfig) -> ImageData:
        key = OmegaConf.to_yaml(dataset, resolve=True)
        if key not in self._images:
            self._images[key] = build.data(dataset, train=False)
        return self._images[key]


def evaluator(precision: Any, accelerator: str) -> Trainer:
    """Return a Trainer that chooses the device and sets the arithmetic of a precision."""
    with config_errors("trainer"):
        return Trainer(
            accelerator=accelerator,
            devices=1,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
        )


def _device(trainer: Trainer) -> torch.device:
    return trainer.strategy.root_device


def _conditions(images: ImageData, normalise: nn.Module, trainer: Trainer) -> Conditions:
    device = _device(trainer)
    loader: Any = images.test_loader()
    if images.test.in_memory:
        loader = [(pixels.to(device), labels.to(device)) for pixels, labels in loader]
    recalibration: list[Tensor] = []

    def training_images() -> Iterator[Tensor]:
        if not recalibration:  # read at the first pass, if there is one
            recalibration.extend(batch for batch, _ in images.recalibration_loader(N_IMAGES))
        yield from (normalise(batch.to(device)) for batch in recalibration)

    return Conditions(
        test=Batches(loader, normalise, device),
        sample=normalise(images.test_sample(N_SAMPLE).to(device)),
        training_images=training_images,
        precision=trainer.precision_plugin.test_step_context,
    )
