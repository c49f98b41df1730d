"""The rows of the seed's and the paper's tables, each a file in conf/experiment."""

import re
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from contnet.commands import build
from contnet.commands.messages import options_of
from contnet.commands.named import network_factory
from contnet.data import ImageData, sources
from contnet.data.images import ArrayImages
from contnet.runs.resume import flat
from tests.configuration import CONF, composed

ALL = options_of("experiment")
OF_THE_ORIGINAL = [row for row in ALL if row.startswith("original/")]
ROWS = [row for row in ALL if row not in OF_THE_ORIGINAL]
SEEDS_FIGURE = re.compile(r"^# original: ([\d.]+) % in (\d+) minutes$", re.MULTILINE)


def seeds_figures(row: str) -> tuple[float, int] | None:
    """Return the test accuracy in percent and the minutes that the seed states for a row."""
    match = SEEDS_FIGURE.search((CONF / "experiment" / f"{row}.yaml").read_text())
    return None if match is None else (float(match[1]), int(match[2]))


def pre_activation_with_skipinit(alpha: int, n_basis: int, num_classes: int) -> int:
    """Parameters of a ContinuousNetActFirst with SkipInit, counted by hand."""

    def unit(incoming: int, channels: int) -> int:
        convolutions = 9 * incoming * channels + channels + 9 * channels**2 + channels
        return convolutions + 2 * incoming + 2 * channels + 1

    stem = 27 * alpha + 2 * alpha
    widths = (alpha, 2 * alpha, 4 * alpha)
    stitches = sum(unit(i, o) + i * o for i, o in zip((alpha, *widths), widths, strict=False))
    nodes = sum(unit(width, width) for width in widths)
    return stem + stitches + n_basis * nodes + 2 * 4 * alpha + 4 * alpha * num_classes + num_classes


PARAMETERS = {
    "cifar10/continuous_net_8_euler": 857_850,
    "cifar10/continuous_net_8_rk4": 857_850,
    "cifar10/continuous_net_8_rk4_refined": 175_770,
    "cifar10/continuous_net_euler": 273_210,
    "cifar10/continuous_net_midpoint_refined": 175_770,
    "cifar10/continuous_net_rk4": 273_210,
    "cifar10/continuous_net_rk4_refined": 175_770,
    "cifar10/grown": 175_770,
    "cifar10/modern": 273_210,
    "cifar10/modern_resnet20": 272_474,
    "cifar10/resnet20": 272_474,
    "cifar10/resnet56": 855_770,
    "cifar100/wide_continuous_net_8_euler": 13_630_676,
    "cifar100/wide_resnet58": 13_631_108,
    "paper/cifar10_euler": pre_activation_with_skipinit(alpha=16, n_basis=32, num_classes=10),
    "paper/cifar10_rk4_refined": pre_activation_with_skipinit(alpha=16, n_basis=1, num_classes=10),
    "paper/cifar100_euler": pre_activation_with_skipinit(alpha=64, n_basis=8, num_classes=100),
    "paper/cifar100_rk4_refined": pre_activation_with_skipinit(
        alpha=64, n_basis=1, num_classes=100
    ),
}


REFINED = {
    "cifar10/grown": 857_850,
    "cifar10/continuous_net_8_rk4_refined": 857_850,
    "cifar10/continuous_net_midpoint_refined": 273_210,
    "cifar10/continuous_net_rk4_refined": 273_210,
    "paper/cifar10_rk4_refined": PARAMETERS["paper/cifar10_euler"],
    "paper/cifar100_rk4_refined": PARAMETERS["paper/cifar100_euler"],
}
"""Parameters at the end, where they are others than at first."""


SEED = {
    "cifar10/resnet20": (91.31, 48),
    "cifar10/continuous_net_euler": (91.41, 20),
    "cifar10/continuous_net_rk4": (91.01, 50),
    "cifar10/continuous_net_rk4_refined": (91.09, 47),
    "cifar10/continuous_net_midpoint_refined": (90.67, 29),
    "cifar10/resnet56": (93.11, 105),
    "cifar10/continuous_net_8_euler": (93.11, 83),
    "cifar10/continuous_net_8_rk4": (93.29, 279),
    "cifar10/continuous_net_8_rk4_refined": (93.06, 199),
    "cifar100/wide_resnet58": (79.16, 193),
    "cifar100/wide_continuous_net_8_euler": (78.45, 159),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_builds_its_network_and_trains_a_step(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(f"experiment={row}", "dataset.batch_size=2")
    num_classes = 100 if "cifar100" in row else 10
    noise = ArrayImages(torch.randint(256, (4, 32, 32, 3), dtype=torch.uint8), torch.arange(4))

    def of_noise(dataset: object, root: str, **options: Any) -> ImageData:
        return ImageData(
            noise, noise, [str(i) for i in range(num_classes)], **{**options, "val_size": 0}
        )

    monkeypatch.setattr(sources, "_torchvision", of_noise)
    build.check(config)
    data = build.data(config.dataset, train=True)
    network = build.network(config.model, data)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[row]
    classifier = build.classifier(config, network, data)
    optimizer = classifier.configure_optimizers()["optimizer"]
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    images, labels = next(iter(data.train_loader(seed=0)))
    logits = classifier(images)
    assert logits.shape == (2, num_classes)
    nn.functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing).backward()
    optimizer.step()
    after = dict(network.named_parameters())
    # SkipInit starts at zero, and lets no gradient through to what it multiplies.
    skipped = {name for name in after if "residual" in name or "nodes" in name} - {
        name for name in after if name.endswith("scale")
    }
    reached = {name for name, parameter in after.items() if parameter.grad.any()}
    assert after.keys() - reached == (skipped if config.model.get("use_skipinit") else set())
    assert not [name for name in reached if torch.equal(after[name], before[name])]
    assert all(parameter.isfinite().all() for parameter in after.values())
    for _ in config.refine.epochs:
        network.refine()
    for n_basis in config.refine.to:
        network.refine(n_basis)
    assert sum(parameter.numel() for parameter in network.parameters()) == REFINED.get(
        row, PARAMETERS[row]
    )
    classifier.eval()
    with torch.no_grad():
        assert classifier(images[:1]).shape == (1, num_classes)


def test_every_row_of_the_seeds_tables_has_its_file_with_the_seeds_figures() -> None:
    assert {row: seeds_figures(row) for row in ROWS if seeds_figures(row)} == SEED
    assert set(ROWS) == PARAMETERS.keys()
    as_computed_there = {row.rpartition("/")[2]: figures for row, figures in SEED.items()}
    assert {row.rpartition("/")[2]: seeds_figures(row) for row in OF_THE_ORIGINAL} == (
        as_computed_there
    )
    for row in ALL:
        opening = (CONF / "experiment" / f"{row}.yaml").read_text().splitlines()[1]
        assert opening == f"# python train.py experiment={row}"


OF_THE_CODE = {
    "seed",
    "model.stitch_norm",
    "model.stride_in",
    "model.initialisation",
    "lr_schedule.milestones",
    "refine.optimizer_state",
}
"""The keys in which a row as the original computes it differs from ours."""


@pytest.mark.parametrize("row", SEED)
def test_a_row_as_the_original_computes_it_builds_and_differs_in_few_keys(row: str) -> None:
    config = composed(f"experiment=original/{row.rpartition('/')[2]}")
    build.check(config)
    with torch.device("meta"):
        network = network_factory(config.model)(
            in_channels=3, num_classes=100 if "cifar100" in row else 10
        )
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[row]
    ours, theirs = (
        flat(OmegaConf.to_container(one, resolve=False))
        for one in (composed(f"experiment={row}"), config)
    )
    changed = {key for key in theirs if theirs[key] != ours[key]}
    assert ours.keys() == theirs.keys()
    assert {"seed"} <= changed <= OF_THE_CODE


@pytest.mark.parametrize("row", ALL)
def test_every_row_composes_for_a_folder_of_images_by_overrides_alone(row: str) -> None:
    config = composed(f"experiment={row}", "dataset=image_folder", "dataset.root=pictures")
    assert config.dataset._target_ == "contnet.data.image_folder"
    assert (config.dataset.root, config.dataset.val_size) == ("pictures", 0)


RECIPES = {
    "cifar10/(resnet|continuous).*": (120, [30, 60, 90], 5e-4, 128),
    "cifar10/continuous.*rk4.*": (120, [30, 60, 90], 1e-4, 128),
    "cifar10/modern.*": (200, None, 5e-4, 128),
    "cifar10/grown": (30, None, 5e-4, 128),
    "cifar100/.*": (120, [30, 60, 90], 5e-4, 128),
    "original/(wide_)?resnet.*": (120, [30, 60, 90], 5e-4, 128),
    "original/(wide_)?continuous.*": (120, [31, 61, 91], 5e-4, 128),
    "original/continuous.*rk4.*": (120, [31, 61, 91], 1e-4, 128),
    "paper/cifar10_.*": (150, [80, 120, 140], 5e-4, 128),
    "paper/cifar100_.*": (160, [80, 120, 140], 5e-4, 128),
}
"""Epochs, milestones, weight decay and batch of the rows of which the last pattern fits."""


@pytest.mark.parametrize("row", ALL)
def test_the_rows_of_a_table_have_its_recipe(row: str) -> None:
    config = composed(f"experiment={row}")
    recipe = [values for pattern, values in RECIPES.items() if re.fullmatch(pattern, row)][-1]
    optimizer, dataset = config.optimizer, config.dataset
    assert (
        config.epochs,
        config.lr_schedule.get("milestones"),
        optimizer.weight_decay,
        dataset.batch_size,
    ) == recipe
    assert (optimizer.lr, dataset.val_size) == (0.1, 0)


def test_the_recipes_are_the_seeds_and_the_papers() -> None:
    refined = composed("experiment=cifar10/continuous_net_8_rk4_refined")
    assert (refined.epochs, refined.refine.epochs, refined.optimizer.weight_decay) == (
        120,
        [30, 50, 70],
        1e-4,
    )
    assert composed("experiment=cifar10/continuous_net_euler").optimizer.weight_decay == 5e-4
    paper = composed("experiment=paper/cifar10_rk4_refined")
    assert (paper.epochs, paper.refine.epochs, paper.refine.variance) == (
        150,
        [40, 50, 60, 70, 80],
        0.1,
    )
    assert (
        paper.model.time_epsilon,
        paper.lr_schedule.milestones,
        paper.optimizer.weight_decay,
    ) == (
        8,
        [80, 120, 140],
        5e-4,
    )
