"""Runs as train.py makes them, on images that the parts give them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer, seed_everything

from benchmarks.gpu.settings import Settings
from contnet.commands import build
from contnet.commands.console import quieten
from contnet.commands.memory import keep_freed_memory
from contnet.commands.messages import CONF
from contnet.commands.precision import on_this_machine
from contnet.commands.switches import without_what_is_off
from contnet.data.image_data import ImageData
from contnet.training.callbacks.epoch_metrics import EpochMetrics
from contnet.training.callbacks.throughput import Throughput
from contnet.training.classifier import Classifier


def configuration(settings: Settings, folder: Path, overrides: Sequence[str]) -> DictConfig:
    """Compose and check the configuration of a run in `folder`, with few words on the screen."""
    root = settings.images or "none"  # images that are not read: the part gives others
    given = [
        f"run_dir={folder}",
        "dataset=image_folder",
        f"dataset.root={root}",
        "dataset.val_size=0",
        "dataset.num_workers=0",
        f"trainer={'gpu' if settings.on_cuda else 'cpu'}",
        "callbacks.progress=null",
    ]
    if settings.quick:
        given += ["model.alpha=2", f"dataset.batch_size={settings.batch_size}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*given, *overrides])
    build.check(config)
    return without_what_is_off(on_this_machine(config))


class Run:
    """A network, its data and Lightning's Trainer, as train.py makes them.

    Args:
        config: the configuration.
        data: the images, which need not be those that the configuration names.
        callbacks: callbacks in addition to those of train.py.
    """

    def __init__(self, config: DictConfig, data: ImageData, *callbacks: Callback) -> None:
        quieten()
        keep_freed_memory()
        seed_everything(config.seed, workers=True, verbose=False)
        self.config = config
        self.data = data
        self.throughput = Throughput()
        network = build.network(config.model, data)
        self.classifier: Classifier = build.classifier(config, network, data)
        self.trainer: Trainer = build.trainer(
            config, self.classifier, data, self.throughput, EpochMetrics(), *callbacks
        )

    def fit(self, loader: Any) -> None:
        """Train on a loader, from the checkpoint that the configuration names, if any."""
        self.trainer.fit(self.classifier, loader, ckpt_path=self.config.ckpt_path)

    def test_accuracy(self) -> float:
        """Return the accuracy on the test images."""
        (tested,) = self.trainer.test(self.classifier, self.data.test_loader(), verbose=False)
        return float(tested["test_accuracy"])
