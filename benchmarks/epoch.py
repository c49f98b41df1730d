"""What data and Lightning cost: images per second of whole epochs of train.py's, over those of the bare training step.

    python -m benchmarks.epoch

A Trainer as train.py builds it trains on an image folder of CIFAR's shape; after each of its epochs the bare step, the
same network on one batch that never changes, takes as many steps.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.measure import TrainingStep, parser, ratio, shown, write
from contnet import ContinuousNet
from contnet.commands import build
from contnet.commands.console import quieten
from contnet.commands.memory import keep_freed_memory
from contnet.training.callbacks.epoch_metrics import EpochMetrics
from contnet.training.callbacks.throughput import Throughput
from contnet.training.classifier import how_to_compile

CONF = Path(__file__).parents[1] / "conf"
BATCH_SIZE = 128


def make_images(root: Path, n_batches: int) -> None:
    """An image folder of ten classes of noise."""
    noise = np.random.default_rng(0)
    for split, n_images in (("train", n_batches * BATCH_SIZE), ("test", 10)):
        for i in range(n_images):
            folder = root / split / str(i % 10)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                folder / f"{i}.png"
            )


class Turns(Callback):
    """Seconds of each epoch, and of as many bare steps after it."""

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


def main() -> None:
    made = parser(__doc__, "epoch", rounds=4)
    made.add_argument("--batches", type=int, default=390, help="in an epoch; as many as CIFAR has")
    made.add_argument("--scheme", default="euler")
    options = made.parse_args()
    quieten()
    keep_freed_memory()  # as train.py does
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder) / "images", options.batches)
        overrides = [
            f"run_dir={folder}/run",
            "dataset=image_folder",
            f"dataset.root={folder}/images",
        ]
        overrides += [
            "dataset.val_size=0",
            f"dataset.batch_size={BATCH_SIZE}",
            "model.initial_time_d=2",
        ]
        overrides += [f"scheme={options.scheme}", f"epochs={options.rounds + 1}", "compile=true"]
        overrides += [
            f"trainer={'gpu' if options.device == 'cuda' else 'cpu'}",
            "trainer.precision=bf16-mixed",
        ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            HydraConfig.instance().set_config(compose("train", overrides, return_hydra_config=True))
            config = compose("train", overrides)
        data = build.data(config, train=True)
        classifier = build.classifier(config, build.network(config, data), data)
        network = ContinuousNet(initial_time_d=2, scheme=options.scheme)
        network.compile(**how_to_compile(network, torch.device(options.device)))
        turns = Turns(
            TrainingStep(network, batch_size=BATCH_SIZE, device=options.device), options.batches
        )
        build.trainer(config, classifier, data, turns, Throughput(), EpochMetrics()).fit(
            classifier, data.train_loader(0)
        )
    seconds = {side: values[1:] for side, values in turns.seconds.items()}  # the first compiles
    n_images = options.batches * BATCH_SIZE
    speed = {side: n_images / statistics.median(values) for side, values in seconds.items()}
    found = ratio(seconds["bare"], seconds["epoch"])
    print(
        f"train.py's epochs: {speed['epoch']:.0f} images/s; the bare training step: {speed['bare']:.0f} images/s"
    )
    print(f"epochs over bare steps, images per second: {shown(found)}")
    write(options.json, {"images_per_second": speed, "ratio": found}, options.device)


if __name__ == "__main__":
    main()
