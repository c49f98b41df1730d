"""Rows of the 2020 tables: their wall time in 120 epochs, and their accuracy on given images.

Without images a few epochs of noise are timed, and the time of the others is extrapolated.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.gpu.images import loader_on_device, synthetic
from benchmarks.gpu.outcome import Line, Outcome, at_most
from benchmarks.gpu.runs import Run, configuration
from benchmarks.gpu.settings import Settings
from contnet.commands import build

EPOCHS = 120

TIMED = 4
"""Epochs that are timed without images; the first one compiles."""

SECONDS = {"euler": 90, "rk4": 240}
"""The wall time that 120 epochs may take on an H100."""

ACCURACY_ON_CPU = {"euler": 0.8725}
"""Measured on a CPU with CIFAR-10 as JPEG in 120 epochs, in bf16, with one seed."""

NEAR = 0.01
"""Difference of two accuracies that the seed alone may make."""


class EpochSeconds(Callback):
    """Takes the wall time from the end of an epoch to the end of the next."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now


def of_row(settings: Settings, name: str) -> Outcome:
    """Train a row: all of it where there are images, a few epochs where there are none."""
    n_epochs = EPOCHS if settings.images else TIMED
    overrides = [
        f"experiment=cifar10/continuous_net_{name}",
        f"epochs={n_epochs}",
    ]
    if not settings.quick:
        overrides += ["compile=true", "trainer.precision=bf16-mixed"]
    clock = EpochSeconds()
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(settings, Path(folder), overrides)
        given = settings.images is not None
        data = build.data(config.dataset, train=True) if given else synthetic(settings)
        run = Run(config, data, clock)
        run.fit(loader_on_device(data, config.seed, torch.device(settings.device)))
        accuracy = run.test_accuracy() if given else None
    first, *others = clock.seconds
    per_epoch = sum(others) / len(others)
    total = sum(clock.seconds) + (EPOCHS - n_epochs) * per_epoch
    how = "measured" if settings.images else f"extrapolated from {n_epochs} epochs of noise"
    lines = [
        at_most(
            f"{name}: {EPOCHS} epochs, {how}",
            total,
            SECONDS[name],
            " s",
            judged=settings.judges_speed,
        ),
        Line(f"{name}: the first epoch, which compiles", f"{first:.1f} s"),
        Line(f"{name}: another epoch", f"{per_epoch:.3f} s"),
    ]
    figures: dict[str, Any] = {"epoch_seconds": clock.seconds, "total_seconds": total}
    if accuracy is not None:
        figures["test_accuracy"] = accuracy
        lines.append(_accuracy_line(name, accuracy))
    return Outcome(lines, figures)


def _accuracy_line(name: str, accuracy: float) -> Line:
    found = f"{100 * accuracy:.2f} %"
    on_cpu = ACCURACY_ON_CPU.get(name)
    if on_cpu is None:
        return Line(f"{name}: test accuracy", found)
    near = abs(accuracy - on_cpu) <= NEAR
    aim = f"{100 * on_cpu:.2f} ± {100 * NEAR:g} %, as on a CPU with CIFAR-10 as JPEG"
    return Line(f"{name}: test accuracy", found, aim, near)
