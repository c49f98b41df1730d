"""Whole epochs of train.py over bare training steps, with the images on the device or not."""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.epoch import Turns
from benchmarks.gpu.images import loader_on_device, synthetic
from benchmarks.gpu.outcome import Line, Outcome, at_least
from benchmarks.gpu.runs import Run, configuration
from benchmarks.gpu.settings import Settings
from benchmarks.measure import TrainingStep, ratio
from contnet import ContinuousNet
from contnet.training.compilation import how_to_compile

EPOCHS = 5
"""Of which the first one compiles, and does not count."""


def bare_step(settings: Settings, compiled: bool) -> TrainingStep:
    """Return the step of the network that is trained, on one batch that never changes."""
    network = ContinuousNet(alpha=settings.alpha, initial_time_d=2)
    if compiled:
        network.compile(**how_to_compile(network, torch.device(settings.device)))
    return TrainingStep(network, batch_size=settings.batch_size, device=settings.device)


def of_images(settings: Settings, on_device: bool) -> Outcome:
    """Train for some epochs with Euler's method, and take as many bare steps after each."""
    compiled = not settings.quick
    data = synthetic(settings)
    n_epochs = 3 if settings.quick else EPOCHS
    overrides = [
        f"epochs={n_epochs}",
        "model.initial_time_d=2",
        f"compile={str(compiled).lower()}",
        "trainer.precision=bf16-mixed",
    ]
    n_batches = -(-settings.n_images // settings.batch_size)
    turns = Turns(bare_step(settings, compiled), n_batches)
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(settings, Path(folder), overrides)
        run = Run(config, data, turns)
        device = torch.device(settings.device)
        loader: Any = data.train_loader(config.seed)
        if on_device:
            loader = loader_on_device(data, config.seed, device)
        run.fit(loader)
    seconds = {side: values[1:] for side, values in turns.seconds.items()}
    found = ratio(seconds["bare"], seconds["epoch"])
    where = "images on the device" if on_device else "images in memory, as train.py has them"
    epoch = statistics.median(seconds["epoch"])
    return Outcome(
        [
            at_least(
                f"{where}: bare steps over an epoch",
                found["median"],
                0.95,
                judged=settings.judges_speed,
            ),
            Line(f"{where}: an epoch of {settings.n_images:,} images", f"{epoch:.2f} s"),
        ],
        {"seconds": seconds, "ratio": found},
    )
