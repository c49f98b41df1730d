"""The images that exported files are tried on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from contnet.commands import build
from contnet.commands.failures import config_errors
from contnet.commands.restore import check_classes
from contnet.commands.trust import recorded_config
from contnet.data import ImageData
from contnet.errors import ConfigError
from contnet.export.graph import random_images
from contnet.export.parity import Sample
from contnet.invariance.recalibration import N_IMAGES, recalibrated
from contnet.runs import checkpoint as checkpoints
from contnet.runs.checkpoint import Record
from contnet.runs.trust import trusted_modules
from contnet.serving.files import find_images
from contnet.serving.trained import TrainedNetwork
from contnet.serving.weights_file import SUFFIX

log = logging.getLogger(__name__)

MOST = 1000
"""Images that a file is tried on."""

N_CALIBRATION = 256
"""Training images that the ranges of int8 are taken from."""

N_RANDOM = 64


class TrialImages:
    """The images at hand for a network.

    Args:
        config: the configuration of contnet-export.
        path: the file that `ckpt_path` stands for.
        network: the network.

    Raises:
        ConfigError: if images are named that cannot be used, or needed and there are none.
    """

    def __init__(self, config: DictConfig, path: str, network: TrainedNetwork) -> None:
        self._network = network
        self._data: ImageData | None = None
        self._missing = "images=... names none"
        if config.images is None or config.recalibrate:
            self._data = self._of_record(config, path)
        if config.recalibrate and self._data is None:
            raise ConfigError(f"recalibrate needs the training images; {self._missing}")
        self.sample = self._sample(config)
        if config.precision == "int8" and self.sample.calibration is None:
            raise ConfigError(
                f"precision=int8 needs images, to find the ranges of activations; {self._missing}; "
                "give images=FOLDER, or dataset.root"
            )

    @contextmanager
    def recalibrated(self) -> Iterator[None]:
        """Return a context in which the network has statistics of its present manifestation."""
        assert self._data is not None
        loader = self._data.recalibration_loader(N_IMAGES)
        batches = (self._network.normalise(images) for images, _ in loader)
        with recalibrated(self._network.network, batches):
            yield

    def _of_record(self, config: DictConfig, path: str) -> ImageData | None:
        """Return the data set that the checkpoint names, or None if it is not at hand."""
        if path.endswith(SUFFIX):
            self._missing = "a file of weights names no data set"
            if config.dataset.root is not None:
                raise ConfigError(f"dataset.root must be left out: {self._missing}; give images")
            return None
        checkpoint = checkpoints.load(path)
        try:
            trained = recorded_config(
                path, Record.of(checkpoint), trusted_modules(config.trust), config.dataset
            )
            images = build.data(trained.dataset, train=False)
            check_classes(path, checkpoint, trained.dataset, images)
        except ConfigError as error:
            if config.dataset.root is not None:
                raise
            self._missing = f"those of training are not at hand ({error})"
            return None
        return images

    def _sample(self, config: DictConfig) -> Sample:
        if config.images is not None:
            return self._in_folder(config.images)
        if self._data is None:
            log.warning(f"files are tried on random pixels: {self._missing}")
            images = random_images(self._network.preprocessing, N_RANDOM)
            return Sample(images, None, f"{N_RANDOM} images of random pixels")
        n_images = min(MOST, len(self._data.test))
        spread = torch.linspace(0, len(self._data.test) - 1, n_images).long()
        with config_errors("dataset"):
            pixels, labels = self._data.test.take(spread)
            loader = self._data.recalibration_loader(N_CALIBRATION)
            needed = loader if config.precision == "int8" else ()
            training = [images for images, _ in needed]
        source = f"{n_images:,} of {len(self._data.test):,} test images"
        calibration = torch.cat(training) if training else None
        return Sample(_channels_first(pixels), labels, source, calibration)

    def _in_folder(self, names: Any) -> Sample:
        folders = [names] if isinstance(names, str) else [*map(str, names)]
        found = find_images(folders, self._network.classes)
        spread = torch.linspace(0, len(found) - 1, min(MOST, len(found))).long().tolist()
        chosen = [found[i] for i in spread]
        with config_errors(""):
            images = self._network.preprocessing.batch([one.path for one in chosen])
        labels = [one.label for one in chosen if one.label is not None]
        known = torch.tensor(labels) if len(labels) == len(chosen) else None
        if known is None:
            log.warning("accuracy is not known: not every image lies in a folder named for a class")
        source = f"{len(chosen):,} of {len(found):,} images in {', '.join(folders)}"
        # Labels play no part in it.
        return Sample(images, known, source, images[:N_CALIBRATION])


def _channels_first(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).contiguous()
