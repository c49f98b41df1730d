"""The seed's tables: every row has its file, and every command of the README's composes."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import reproduce
from benchmarks.reproduce import ROWS, Row, markdown, seeds_figures, table_row
from contnet import ContinuousNet, ResNet
from contnet.commands import build
from contnet.data import ImageData, sources
from contnet.data.images import ArrayImages
from tests.processes import rows
from tests.test_configuration import composed

README = (Path(__file__).parents[1] / "README.md").read_text()


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


class Shape:
    """What a network is told of its data."""

    def __init__(self, num_classes: int) -> None:
        self.in_channels = 3
        self.num_classes = num_classes


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
    data = build.data(config, train=True)
    network = build.network(config, data)
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
    assert sum(parameter.numel() for parameter in network.parameters()) == REFINED.get(
        row, PARAMETERS[row]
    )
    classifier.eval()
    with torch.no_grad():
        assert classifier(images[:1]).shape == (1, num_classes)


def test_every_row_of_the_seeds_tables_has_its_file_with_the_seeds_figures() -> None:
    assert {row: seeds_figures(row) for row in ROWS if seeds_figures(row)} == SEED
    assert set(ROWS) == PARAMETERS.keys()
    for row in ROWS:
        opening = (Path("conf/experiment") / f"{row}.yaml").read_text().splitlines()[1]
        assert opening == f"# python train.py experiment={row}"


@pytest.mark.parametrize("row", ROWS)
def test_every_row_composes_for_a_folder_of_images_by_overrides_alone(row: str) -> None:
    config = composed(f"experiment={row}", "dataset=image_folder", "dataset.root=pictures")
    assert config.dataset._target_ == "contnet.data.image_folder"
    assert (config.dataset.root, config.dataset.val_size) == ("pictures", 0)


RECIPES = {
    "cifar10/(resnet|continuous).*": (120, [30, 60, 90], 5e-4, 128),
    "cifar10/continuous.*rk4.*": (120, [30, 60, 90], 1e-4, 128),
    "cifar10/modern.*": (200, None, 5e-4, 128),
    "cifar100/.*": (120, [30, 60, 90], 5e-4, 128),
    "paper/cifar10_.*": (150, [80, 120, 140], 5e-4, 128),
    "paper/cifar100_.*": (160, [80, 120, 140], 5e-4, 128),
}
"""Epochs, milestones, weight decay and batch of the rows of which the last pattern fits."""


@pytest.mark.parametrize("row", ROWS)
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


def test_resnet_20_and_two_units_of_euler_differ_in_736_parameters_that_can_be_counted() -> None:
    continuous = sum(p.numel() for p in ContinuousNet(initial_time_d=2).parameters())
    resnet = sum(p.numel() for p in ResNet(depth=20).parameters())
    assert continuous - resnet == 736
    channels = (16, 32, 64)
    # Both have three units a segment, one of them in the stitch. ContinuousNet's convolutions have biases,
    biases = sum(2 * 3 * c for c in channels)
    # its first stitch has a 1x1 convolution where ResNet has the identity,
    first_shortcut = 16 * 16
    # and its other shortcuts lack the batch norm of ResNet's.
    shortcut_norms = 2 * 32 + 2 * 64
    assert biases + first_shortcut - shortcut_norms == 736


def test_every_command_of_the_readmes_composes() -> None:
    commands = re.findall(r"^    python train\.py (.+?)(?:\s{2,}#.*)?$", README, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        words = [word for word in command.split() if word != "-m" and not word.startswith("-")]
        swept = [re.sub(r"=([^\[,]+),.*", r"=\1", word) for word in words]
        build.check(composed(*swept))


def test_the_originals_commands_are_the_rows() -> None:
    commands = README[README.index("its commands are") : README.index("and its flags")]
    translated = re.findall(r"python train\.py (.+)", commands)
    rows = ("resnet20", "continuous_net_euler", "continuous_net_rk4", "continuous_net_rk4_refined")
    for command, row in zip(translated, rows, strict=True):
        assert composed(*command.split()) == composed(f"experiment=cifar10/{row}")


FLAGS = re.findall(r"^\| `(--[^`]+)` \| `([^`]+)` \|$", README, re.MULTILINE)


def test_every_flag_of_the_originals_is_translated() -> None:
    names = "--dataset --batch-size --test-batch-size --epochs --lr --lr-decay --lr-decay-epoch --weight-decay"
    names += " --batch-norm --device --seed --model --scheme --n_time_steps_per --initial_time_d --time_epsilon"
    names += " --use_skipinit --alpha --widen_factor --refine"
    assert [flag.split()[0] for flag, _ in FLAGS] == names.split()


@pytest.mark.parametrize(("flag", "overrides"), FLAGS, ids=[flag for flag, _ in FLAGS])
def test_a_translated_flag_composes(flag: str, overrides: str) -> None:
    build.check(composed(*overrides.split()))


def test_a_step_of_many_residuals_at_once_is_worth_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def prepare(*overrides: str) -> None:
        config = composed("model.time_epsilon=8", *overrides)
        build.warn_of_long_steps(config, build.network(config, Shape(10)))

    for harmless in ("model.initial_time_d=4", "model.use_skipinit=true", "scheme=dopri5"):
        prepare(harmless)
    assert caplog.text == ""
    prepare()
    assert (
        "model.time_epsilon=8 over 1 steps adds 8 times the residual at each, which diverges"
        in caplog.text
    )


def test_the_comparison_has_the_seeds_figures_beside_mean_and_deviation() -> None:
    run = {
        "parameters": 272_474,
        "train_seconds": 600.0,
        "machine": "a CPU, 1 thread",
        "versions": {"torch": "2"},
    }
    results = [
        {**run, "test_accuracy": accuracy, "git_commit": "a1b2"} for accuracy in (0.90, 0.91)
    ]
    row = table_row(Row("cifar10/resnet20"), ["epochs=30"], results)
    assert (row["seed_accuracy"], row["seed_minutes"], row["epochs"], row["seeds"]) == (
        91.31,
        48,
        30,
        2,
    )
    assert row["accuracy_mean"] == pytest.approx(90.5)
    assert row["accuracy_std"] == pytest.approx(0.5**0.5)
    line = "| `cifar10/resnet20` | - | - | 30 | 272,474 | 91.31 % | 90.50 ± 0.71 % (2) | 48 min | 10.0 min |"
    failed = table_row(
        Row("cifar10/modern", ("label_smoothing=0",)), ["epochs=30"], [None, results[0]]
    )
    table = markdown([row, failed])
    assert line in table.splitlines()
    assert (
        "| `cifar10/modern label_smoothing=0` | euler | - | 30 | 272,474 | - | 90.00 % (1 of 2) |"
        in table
    )
    for said in (
        "Data: cifar10 in data",
        "Machine: a CPU, 1 thread, torch 2",
        "Commit: a1b2",
        "Overrides: epochs=30",
    ):
        assert said in table.splitlines()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of images, two of each of two classes."""
    for split in ("train", "test"):
        for shade, name in enumerate(("cat", "dog")):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (8, 8), (200 * shade,) * 3).save(
                    tmp_path / "pictures" / split / name / f"{i}.png"
                )
    return tmp_path / "pictures"


Reproduce = Callable[..., tuple[str, str]]


@pytest.fixture
def reproduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Reproduce:
    """`reproduced(*arguments)` -> (how it stopped, what it printed)."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(
            sys, "argv", ["reproduce", *arguments, "--output", str(tmp_path / "table")]
        )
        stopped = ""
        try:
            reproduce.main()
        except SystemExit as stop:
            stopped = str(stop.code)
        return stopped, "".join(capfd.readouterr())

    return call


def test_rows_are_run_once_and_a_run_with_other_overrides_is_no_result(
    pictures: Path, tmp_path: Path, reproduced: Reproduce
) -> None:
    data = (
        "--set",
        "dataset=image_folder",
        "--set",
        f"dataset.root={pictures}",
        "--set",
        "dataset.image_size=8",
    )
    small = (*data, "--set", "model.alpha=1")
    row = "cifar10/resnet20 model.depth=8"
    stopped, printed = reproduced(row, "--seeds", "3", "3", "--set", "epochs=1", *small)
    assert (stopped, "seed 3: training" in printed) == ("", True)
    (measured,) = rows(tmp_path / "table" / "table.csv")
    assert (measured["row"], measured["epochs"], measured["seeds"], measured["failed"]) == (
        row,
        "1",
        "1",
        "0",
    )
    assert measured["data"] == f"image_folder in {pictures}"
    stopped, printed = reproduced(row, "--seeds", "3", "--set", "epochs=1", *small)
    assert (stopped, "training" in printed) == ("", False)
    assert rows(tmp_path / "table" / "table.csv") == [measured]
    # What a row has of its own holds, whatever is set for all.
    assert (
        reproduced(row, "--seeds", "3", "--set", "model.depth=14", "--set", "epochs=1", *small)[0]
        == ""
    )
    stopped, _ = reproduced(row, "--seeds", "3", *small)
    assert "holds a run with other overrides than experiment=cifar10/resnet20 " in stopped
    (
        tmp_path / "table" / "cifar10-resnet20-model.depth-8" / "3" / ".hydra" / "overrides.yaml"
    ).unlink()
    stopped, _ = reproduced(row, "--seeds", "3", "--set", "epochs=1", *small)
    assert "hydra.run.dir must be the folder of a run; " in stopped


def test_a_table_that_is_told_to_stop_lets_its_run_save_and_goes_on_from_there(
    pictures: Path, tmp_path: Path, reproduced: Reproduce
) -> None:
    command = (
        "cifar10/resnet20",
        "--set",
        "dataset=image_folder",
        "--set",
        f"dataset.root={pictures}",
    )
    command += ("--set", "model.depth=8", "--set", "model.alpha=1", "--set", "epochs=300")
    last = tmp_path / "table" / "cifar10-resnet20" / "0" / "checkpoints" / "last.ckpt"

    def stop_once_it_trains() -> None:
        while not last.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_once_it_trains, daemon=True).start()
    stopped, printed = reproduced(*command)
    assert (stopped, "the same command goes on from here" in printed) == ("75", True)
    assert not (last.parents[1] / "result.json").exists()
    stopped, printed = reproduced(*command)
    assert (stopped, "seed 0: resuming" in printed) == ("", True)
    assert rows(tmp_path / "table" / "table.csv")[0]["seeds"] == "1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar10/resnet21"], "'cifar10/resnet21' is no row; there are cifar10/"),
        ([""], "'' is no row; there are cifar10/"),
        (
            ["cifar10/resnet20 optimizer.lr=1e-1", "cifar10/resnet20 optimizer.lr=1e+1"],
            "optimizer.lr=1e-1 and cifar10/resnet20 optimizer.lr=1e+1 would share a folder; give them an --output each",
        ),
        (
            ["cifar10/resnet20", "--seeds", "-1"],
            "error: seed must be a whole number of at least 0, got -1",
        ),
        (
            ["cifar10/resnet20", "--set", "seed=3"],
            "error: seed must be left out of overrides, got seed=3; --seeds sets",
        ),
        (
            ["cifar10/resnet20", "--set", "run_dir=q"],
            "error: run_dir must be left out of overrides, got run_dir=q; --",
        ),
        (
            ["cifar10/resnet20 +ckpt_path=a"],
            "error: ckpt_path must be left out of overrides, got +ckpt_path=a; --output",
        ),
        (
            ["cifar10/resnet20", "--set", "epoch=1"],
            "error: epoch is not a key; did you mean epochs?",
        ),
        (
            ["cifar10/resnet20", "--set", "model.depth=21"],
            "error: model.depth must be 6 n + 2, such as 20 or 26, got 21",
        ),
        (
            ["cifar10/continuous_net_rk4_refined", "--set", "epochs=20"],
            "error: refine.epochs must lie before the end of the run at 20, got 25",
        ),
        (
            ["cifar10/resnet20", "--set", "epochs=0"],
            "error: epochs must be a whole number of at least 1, got 0",
        ),
        (
            ["cifar10/resnet20", "--set", "dataset=image_folder"],
            "error: dataset.root must be given, as --set dataset.ro",
        ),
    ],
)
def test_a_table_that_cannot_be_made_is_refused_before_anything_is_run(
    arguments: list[str], message: str, tmp_path: Path, reproduced: Reproduce
) -> None:
    assert message in "".join(reproduced(*arguments))
    assert not (tmp_path / "table").exists()
