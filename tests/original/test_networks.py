"""The rows of experiment=original/ compute what the original computes."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from torch.nn import functional

from contnet import ContinuousNet
from contnet.commands import build
from contnet.commands.messages import options_of
from contnet.data import ImageData
from contnet.data.images import ArrayImages
from tests.configuration import composed
from tests.original.comparison import (
    difference,
    differences,
    largest_difference,
    original_of,
    original_optimizer,
    row_config,
    translated,
)
from tests.original.continuous import TABLEAUS, OriginalContinuousNet, interval

ROUNDING = 1e-12

PAGE = (Path(__file__).parents[2] / "docs" / "original.md").read_text()

ROWS = [name.removeprefix("original/") for name in options_of("experiment") if "original/" in name]
LARGE = {row for row in ROWS if "8" in row} | {"resnet56"}

VARIANTS = {
    "pre-activation": ("model=continuous_net_act_first", "model.stitch_norm=both"),
    "pre-activation, SkipInit": (
        "model=continuous_net_act_first",
        "model.stitch_norm=both",
        "model.use_skipinit=true",
    ),
    "wide": ("model=wide_continuous_net", "model.stitch_norm=both", "model.widen_factor=2"),
    "not wider": ("model=wide_continuous_net", "model.stitch_norm=both", "model.widen_factor=1"),
    "SkipInit": ("model.use_skipinit=true",),
    "no batch norm": ("model.batch_norm=false",),
    "no batch norm, SkipInit": ("model.batch_norm=false", "model.use_skipinit=true"),
    "two steps an interval": ("scheme.n_time_steps_per=2",),
    "epsilon": ("model.time_epsilon=1.5",),
}


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=pytest.mark.long if row in LARGE else []) for row in ROWS]
)
def test_every_row_computes_and_trains_as_the_original(row: str) -> None:
    assert differences(row_config(row)).largest < ROUNDING


def of_scheme(scheme: str, n_basis: int, *overrides: str) -> DictConfig:
    row = "continuous_net_rk4" if "rk4" in scheme else "continuous_net_euler"
    return row_config(row, f"scheme={scheme}", f"model.initial_time_d={n_basis}", *overrides)


@pytest.mark.parametrize("n_basis", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("scheme", TABLEAUS)
def test_outputs_gradients_and_statistics_are_the_originals(scheme: str, n_basis: int) -> None:
    assert differences(of_scheme(scheme, n_basis), training=False).largest < ROUNDING


@pytest.mark.long
@pytest.mark.parametrize("n_basis", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("scheme", TABLEAUS)
def test_training_and_refinement_are_the_originals(scheme: str, n_basis: int) -> None:
    assert differences(of_scheme(scheme, n_basis)).largest < ROUNDING


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_networks_of_the_original_train_as_they_do_there(variant: str) -> None:
    assert differences(of_scheme("midpoint", 2, *VARIANTS[variant])).largest < ROUNDING


@pytest.mark.parametrize(
    ("row", "small", "ours"),
    [
        ("continuous_net_euler", (), "model.stitch_norm=both"),
        ("continuous_net_rk4", (), "model.stitch_norm=both"),
        ("wide_resnet58", ("model.depth=10",), "model.stride_in=first"),
    ],
)
def test_a_row_differs_from_ours_in_what_it_computes(
    row: str, small: tuple[str, ...], ours: str
) -> None:
    config = row_config(row, *small)
    changed = row_config(row, *small, ours)
    theirs = original_of(config)
    network = build.network_factory(changed.model)(in_channels=3, num_classes=10).double()
    network.load_state_dict(translated(theirs.state_dict(), config))
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        assert difference(network.eval()(images), theirs.eval()(images)) > 1e-3


def test_the_norm_that_is_not_applied_makes_a_large_difference() -> None:
    """docs/original.md has the numbers."""
    found = []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        first = ContinuousNet(initial_time_d=2, stitch_norm="first")
        both = ContinuousNet(initial_time_d=2)
        both.load_state_dict(first.state_dict())
        images = torch.randn(32, 3, 32, 32)
        with torch.no_grad():
            logits = first(images)
            found.append((both(images) - logits).norm().item() / logits.norm().item())
    assert min(found) > 0.7
    assert max(found) < 1


class Batches(Callback):
    """Keep the normalised batches of a training, by epoch."""

    def __init__(self) -> None:
        self.of_epochs: dict[int, list[Any]] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        images, labels = batch
        kept = self.of_epochs.setdefault(trainer.current_epoch, [])
        kept.append((pl_module.normalise(images).clone(), labels.clone()))


@pytest.mark.filterwarnings("ignore")  # Lightning's, which the commands silence
def test_a_run_ends_with_the_originals_weights() -> None:
    # The original lowers the rate at the end of its epoch 1, which is ours from epoch 2.
    config = row_config(
        "continuous_net_rk4_refined",
        "epochs=3",
        "refine.epochs=[1]",
        "lr_schedule.milestones=[2]",
        "dataset.batch_size=8",
        "trainer.precision=64-true",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "trainer.enable_checkpointing=false",
        "callbacks=[]",
        "logger=[]",
    )
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (16, 8, 8, 3), dtype=torch.uint8, generator=generator)
    noise = ArrayImages(pixels, torch.arange(16) % 10)
    options = {name: config.dataset[name] for name in ("batch_size", "mean", "std")}
    options |= {"test_batch_size": 8, "num_workers": 0, "val_size": 0, "split_seed": 0}
    data = ImageData(noise, noise, [str(i) for i in range(10)], crop_padding=1, **options)
    torch.manual_seed(2)
    theirs = original_of(config)
    network = build.network(config.model, data).double()
    network.load_state_dict(translated(theirs.state_dict(), config))
    classifier = build.classifier(config, network, data)
    batches = Batches()
    trainer = build.trainer(config, classifier, data, batches)
    trainer.fit(classifier, data.train_loader(config.seed))
    optimizer, lr = original_optimizer(theirs, config), config.optimizer.lr
    for epoch in range(3):
        if epoch == 1:
            theirs.refine()
            optimizer = original_optimizer(theirs, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        for images, labels in batches.of_epochs[epoch]:
            optimizer.zero_grad()
            functional.cross_entropy(theirs.train()(images), labels).backward()
            optimizer.step()
        if epoch == 1:
            lr *= 0.1
    assert [len(batches.of_epochs[epoch]) for epoch in range(3)] == [2, 2, 2]
    trained = translated(theirs.state_dict(), config)
    assert largest_difference(classifier.network.state_dict(), trained) < ROUNDING


@pytest.mark.parametrize("row", ROWS)
def test_the_rate_of_each_epoch_is_that_of_the_script(row: str) -> None:
    config = row_config(row)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = build.optimizer(config.optimizer)(torch.nn.ParameterList([parameter]))
    scheduler = build.schedule(config)(optimizer, steps_per_epoch=1)["scheduler"]
    ours = []
    for _ in range(config.epochs):
        ours.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    # cli.py counts epochs from 0 and train_resnet.py from 1; both cut after the epoch.
    first = 1 if row in ("resnet20", "resnet56", "wide_resnet58") else 0
    theirs, lr = [], config.optimizer.lr
    for epoch in range(first, first + 120):
        theirs.append(lr)
        lr *= 0.1 if epoch in (30, 60, 90) else 1
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_the_seed_and_the_images_of_the_scripts(row: str) -> None:
    config = row_config(row)
    assert (config.seed, config.dataset.val_size, config.dataset.batch_size) == (1, 0, 128)
    assert (config.dataset.crop_padding, config.dataset.horizontal_flip) == (4, True)
    assert config.dataset.mean == [0.4914, 0.4822, 0.4465]
    assert config.dataset.std == [0.2023, 0.1994, 0.2010]
    assert config.refine.optimizer_state == ("reset" if config.refine.epochs else "carry")


@pytest.mark.parametrize(
    ("flag", "mean", "std", "crop_padding", "horizontal_flip"),
    [
        ("--dataset FMNIST", [0.5], [0.5], 0, False),
        (
            "--dataset tinyimagenet",
            [0.4479, 0.4169, 0.3694],
            [0.2929, 0.2823, 0.2890],
            4,
            True,
        ),
    ],
)
def test_the_page_has_the_constants_of_the_other_data(
    flag: str, mean: list[float], std: list[float], crop_padding: int, horizontal_flip: bool
) -> None:
    overrides = re.search(rf"\| `{flag}` \|.*\| `(.*)` \|", PAGE)
    assert overrides is not None
    dataset = composed(*overrides[1].split()).dataset
    assert (dataset.mean, dataset.std) == (mean, std)
    assert (dataset.crop_padding, dataset.horizontal_flip) == (crop_padding, horizontal_flip)


def looked_up(scheme: str, n: int, dtype: torch.dtype) -> list[int]:
    """Return the intervals that the original looks up, with times of a type."""
    network = OriginalContinuousNet(n, scheme, alpha=1)
    block = network.blocks()[0]
    block.times = dtype
    found: list[int] = []

    def rate(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        found.append(interval(t, n))
        return x

    block.net.forward = rate
    block(torch.zeros(1))
    return found


def n_wrong(scheme: str, n: int, dtype: torch.dtype) -> int:
    """Return how many stages look up another interval than the one that their step covers."""
    n_stages = len(TABLEAUS[scheme][0])
    return sum(k != i // n_stages for i, k in enumerate(looked_up(scheme, n, dtype)))


def wrong_in(dtype: torch.dtype, scheme: str) -> list[int]:
    return [n for n in range(1, 21) if n_wrong(scheme, n, dtype)]


@pytest.mark.parametrize("scheme", TABLEAUS)
def test_the_page_says_where_the_original_looks_up_other_intervals(scheme: str) -> None:
    """With one step on each interval."""
    in_64_bits = [14, 17, 18, 20]
    in_32_bits = [3, 6, 7, 11, 12, 13, 14, 15, 19]
    assert wrong_in(torch.float64, scheme) == in_64_bits
    is_rk4 = scheme.startswith("rk4")
    assert wrong_in(torch.float32, scheme) == (list(range(2, 21)) if is_rk4 else in_32_bits)


def test_in_32_bits_the_last_stage_of_rk4_looks_up_the_next_interval() -> None:
    for n in (1, 2, 4, 8, 16):
        assert n_wrong("rk4", n, torch.float32) == n_wrong("rk4_classic", n, torch.float32) == n - 1
    assert looked_up("rk4_classic", 2, torch.float32) == [0, 0, 0, 1, 1, 1, 1, 1]
    assert looked_up("euler", 3, torch.float32) == [0, 1, 1]
