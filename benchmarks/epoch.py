"""The cost of data and Lightning: images per second of whole epochs over the bare training step's.

    python -m benchmarks.epoch

A Trainer as train.py builds it trains on a folder of images of CIFAR's shape. After each
epoch, as many bare steps follow: the same network on one batch that never changes.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.measure import TrainingStep, parser, ratio, shown, write
from contnet import ContinuousNet
from contnet.commands import build
from contnet.commands.console import quieten
from contnet.commands.memory import keep_freed_memory
from contnet.commands.messages import CONF
from contnet.training.callbacks.epoch_metrics import EpochMetrics
from contnet.training.callbacks.throughput import Throughput
from contnet.training.compilation import how_to_compile

BATCH_SIZE = 128


def make_images(root: Path, n_batches: int) -> None:
    """Write a folder of images of noise in ten classes, with `n_batches` batches to train on."""
    noise = np.random.default_rng(0)
    for split, n_images in (("train", n_batches * BATCH_SIZE), ("test", 10)):
        for i in range(n_images):
            folder = root / split / str(i % 10)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                folder / f"{i}.png"
            )


class Turns(Callback):
    """Measure the seconds of each epoch, and of as many bare steps after it."""

    def __init__(self, bare: TrainingStep, n_batches: int) -> None:
        self.bare = bare
        self.n_batches = n_batches
        self.seconds: dict[str, list[float]] = {"epoch": [], "bare": []}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        between = time.perf_counter()
        for _ in range(self.n_batches):
            self.bare()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds["epoch"].append(between - self._start)
        self.seconds["bare"].append(time.perf_counter() - between)


def configuration(folder: Path, scheme: str, epochs: int, device: str) -> DictConfig:
    """Compose the configuration of a run on the images in `folder`."""
    overrides = [
        f"run_dir={folder}/run",
        "dataset=image_folder",
        f"dataset.root={folder}/images",
        "dataset.val_size=0",
        f"dataset.batch_size={BATCH_SIZE}",
        "model.initial_time_d=2",
        f"scheme={scheme}",
        f"epochs={epochs}",
        "compile=true",
        f"trainer={'gpu' if device == 'cuda' else 'cpu'}",
        "trainer.precision=bf16-mixed",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides)


def bare_step(scheme: str, device: str) -> TrainingStep:
    """Return the training step of the network that train.py trains, compiled as train.py does."""
    network = ContinuousNet(initial_time_d=2, scheme=scheme)
    network.compile(**how_to_compile(network, torch.device(device)))
    return TrainingStep(network, batch_size=BATCH_SIZE, device=device)


def main() -> None:
    made = parser(__doc__, "epoch", rounds=4)
    made.add_argument("--batches", type=int, default=390, help="in an epoch; CIFAR has 390")
    made.add_argument("--scheme", default="euler")
    options = made.parse_args()
    quieten()
    keep_freed_memory()  # as train.py does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "images", options.batches)
        config = configuration(folder, options.scheme, options.rounds + 1, options.device)
        data = build.data(config.dataset, train=True)
        classifier = build.classifier(config, build.network(config.model, data), data)
        turns = Turns(bare_step(options.scheme, options.device), options.batches)
        trainer = build.trainer(config, classifier, data, turns, Throughput(), EpochMetrics())
        trainer.fit(classifier, data.train_loader(0))
    seconds = {side: values[1:] for side, values in turns.seconds.items()}  # the first compiles
    n_images = options.batches * BATCH_SIZE
    speed = {side: n_images / statistics.median(values) for side, values in seconds.items()}
    found = ratio(seconds["bare"], seconds["epoch"])
    print(f"epochs of train.py: {speed['epoch']:.0f} images/s")
    print(f"bare training step: {speed['bare']:.0f} images/s")
    print(f"epochs over bare steps, images per second: {shown(found)}")
    write(options.json, {"images_per_second": speed, "ratio": found}, options.device)


if __name__ == "__main__":
    main()
