"""Trainings on the device: resumed ones, refinement and manifestations.

Between two batches a training must not wait for the device: see `benchmarks.gpu.synchronisation`.

A run that is stopped within an epoch, and resumed from its checkpoint by new objects, must end bit
for bit as the run that was never stopped. On a GPU that needs `trainer.deterministic=true`, and
`trainer.benchmark=false`: cuDNN may choose another algorithm when it tries them again.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from benchmarks.gpu.images import loader_on_device, synthetic
from benchmarks.gpu.outcome import Line, Outcome, at_most, none_of
from benchmarks.gpu.runs import Run, configuration
from benchmarks.gpu.settings import Settings
from benchmarks.gpu.synchronisation import watched
from contnet import ContinuousNet
from contnet.ode.bases import BASES
from contnet.runs.folder import LAST

RUNS: dict[str, list[str]] = {
    "plain": [],
    "refined": ["refine.epochs=[1]", "refine.variance=0.1"],
    "every depth": ["manifestations=random", "manifestations.n_time_steps=[1,2]"],
    "every depth, refined": [
        "manifestations=random",
        "manifestations.n_time_steps=[1,2]",
        "refine.epochs=[1]",
    ],
    "checkpoint": ["scheme.gradient=checkpoint", "scheme=rk4_classic"],
    "linear": ["model.basis=continuous_linear", "model.initial_time_d=2", "refine.epochs=[1]"],
}
"""The trainings, by what they have in addition."""

N_BATCHES = 6
"""Batches of an epoch."""

EPOCHS = 2

STOPS_AFTER = (3, N_BATCHES + 2)
"""Steps after which a run is stopped: within the first epoch, and within the second."""


def trained(
    settings: Settings, folder: Path, overrides: list[str], **trainer: Any
) -> dict[str, Any]:
    """Train, and return the last checkpoint of the run."""
    given = [f"trainer.{key}={value}" for key, value in trainer.items()]
    exact = ["trainer.deterministic=true", "trainer.benchmark=false"]
    config = configuration(settings, folder, [f"epochs={EPOCHS}", *exact, *overrides, *given])
    data = synthetic(settings, N_BATCHES * settings.batch_size)
    run = Run(config, data)
    run.fit(loader_on_device(data, config.seed, torch.device(settings.device)))
    saved: dict[str, Any] = torch.load(folder / LAST, map_location="cpu", weights_only=True)
    return saved


class WatchedBatches(Callback):
    """Watches a run from the end of one batch to the end of a later one, loader included.

    `places` then has the places at which the program waited for the device.
    """

    first, last = 1, 4

    def __init__(self) -> None:
        self.places: Counter[str] = Counter()
        self._open = ExitStack()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 0 and batch_idx == self.first:
            self.places = self._open.enter_context(watched(pl_module.device.type))
        if batch_idx == self.last:
            self._open.close()


def of_waits(settings: Settings) -> Outcome:
    """Count the waits for the device in the loop of a training, as train.py runs it."""
    data = synthetic(settings, N_BATCHES * settings.batch_size)
    watch = WatchedBatches()
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(settings, Path(folder), ["epochs=1"])
        run = Run(config, data, watch)
        run.fit(loader_on_device(data, config.seed, torch.device(settings.device)))
    n_batches = watch.last - watch.first
    # On a CPU the loss is read after each batch: see `DivergenceWatch`.
    found = watch.places.total() / n_batches
    lines = [at_most("waits for the device a batch", found, 0, judged=settings.on_cuda)]
    lines += [Line(f"waits at {place}", f"{n}") for place, n in watch.places.most_common(5)]
    return Outcome(lines, watch.places)


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors in nested dictionaries and lists, by name."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from tensors(one, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for i, one in enumerate(value):
            yield from tensors(one, f"{name}.{i}")


def unequal(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Return the names of the tensors in which the states of two runs differ."""
    states = [
        dict(tensors({key: one[key] for key in ("state_dict", "optimizer_states")}))
        for one in (a, b)
    ]
    names = states[0].keys() | states[1].keys()
    return sorted(
        name
        for name in names
        if name not in states[0]
        or name not in states[1]
        or not torch.equal(states[0][name], states[1][name])
    )


def of_resumed_runs(settings: Settings, compiled: bool) -> Outcome:
    """Compare runs that were stopped and resumed with those that were not."""
    settings.without_tf32()
    names = ["every depth, refined"] if settings.quick else list(RUNS)
    if compiled:
        names = ["refined", "every depth, refined"]
    failed, figures = [], {}
    n_compared = 0
    for name in names:
        overrides = [*RUNS[name], f"compile={str(compiled).lower()}"]
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            unbroken = trained(settings, folder / "unbroken", overrides)
            for steps in STOPS_AFTER[-1:] if settings.quick or compiled else STOPS_AFTER:
                stopped = folder / f"stopped{steps}"
                trained(settings, stopped, overrides, max_steps=steps)
                resumed = trained(settings, stopped, [*overrides, f"ckpt_path={stopped / LAST}"])
                differing = unequal(unbroken, resumed)
                n_compared += 1
                figures[f"{name}, stopped after step {steps}"] = differing
                if differing:
                    failed.append(f"{name} after step {steps} ({len(differing)} tensors)")
    how = "compiled" if compiled else "eager"
    lines = [none_of(f"{how}: resumed runs end bit for bit as unbroken ones", n_compared, failed)]
    return Outcome(lines, figures)


def of_other_graphs(settings: Settings) -> Outcome:
    """Refine networks on the device, and change their manifestation and back.

    A refined network in its former number of steps computes what it computed, as does one that has
    come back from another manifestation. The steps of Euler's method look up the beginning of each
    interval, where theta is as it was.
    """
    settings.without_tf32()
    failed, figures = [], {}
    images = torch.randn(4, 3, settings.image_size, settings.image_size, device=settings.device)
    for basis in BASES:
        torch.manual_seed(0)
        network = ContinuousNet(alpha=settings.alpha, initial_time_d=2, basis=basis)
        network = network.to(settings.device)
        network(images)  # running statistics other than those of the start
        network.eval()
        before = _logits(network, images)
        network.set_manifestation(scheme="rk4_classic", n_time_steps=4)
        _logits(network, images)
        network.set_manifestation(scheme="euler", n_time_steps=2)
        figures[f"{basis}, other manifestation"] = _difference(_logits(network, images), before)
        network.refine()
        network.set_manifestation(n_time_steps=2)
        figures[f"{basis}, refined"] = _difference(_logits(network, images), before)
    failed = [f"{name} ({value:.1e})" for name, value in figures.items() if not value <= 1e-4]
    lines = [none_of("a graph that comes back computes the same", len(figures), failed)]
    return Outcome(lines, figures)


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network(images)
    return logits


def _difference(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()
