"""Rates and networks in a Python file beside the command: trained, resumed, swept and projected."""

from pathlib import Path

import pytest

from contnet.runs.checkpoint import Record
from tests.conftest import Run
from tests.outcomes import LAST, assert_same, load, result, rows

CLASSES = '''
import torch
from torch import nn


class Rate(nn.Module):
    def __init__(self, channels, hidden=3):
        super().__init__()
        self.down = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.BatchNorm2d(hidden)
        self.up = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x):
        return self.up(torch.tanh(self.norm(self.down(x))))


class Grey(nn.Module):
    """A network without ODE blocks that takes images of one channel, and finds out their size."""

    def __init__(self, in_channels, num_classes, width):
        super().__init__()
        if in_channels != 1:
            raise ValueError("images must be grey")
        self.layers = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, x):
        return self.layers(x)
'''

RATE = ("+model.rate._target_=classes.Rate", "+model.rate.hidden=2", "model.alpha=2")


@pytest.fixture(autouse=True)
def _classes(tmp_path: Path) -> None:
    (tmp_path / "classes.py").write_text(CLASSES)


@pytest.mark.parametrize(
    "basis", ["piecewise_constant", pytest.param("legendre", marks=pytest.mark.long)]
)
def test_an_own_rate_is_refined_and_resumed_bit_for_bit(run: Run, basis: str) -> None:
    options = (
        *(*RATE, f"model.basis={basis}", "refine.epochs=[1]", "refine.variance=0.1"),
        *("optimizer.lr=0.01", "trainer.limit_train_batches=3", "scheme=midpoint"),
    )
    assert run("train", *options, "epochs=3", "hydra.run.dir=through")[0] == 0
    assert run("train", *options, "epochs=2", "hydra.run.dir=stopped")[0] == 0
    resume = ("ckpt_path=stopped/checkpoints/last.ckpt", "hydra.run.dir=resumed")
    code, _, err = run("train", *options, "epochs=3", *resume, "trust=[classes]")
    assert (code, err) == (0, "")
    through, resumed = (load(Path(name, LAST)) for name in ("through", "resumed"))
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(through[key], resumed[key], key)
    assert [block.n_basis for block in Record.of(through).depth] == [2, 2, 2]
    assert through["state_dict"]["network.blocks.0.nodes.1.down.weight"].shape == (2, 2, 1, 1)


@pytest.mark.long
def test_an_own_rate_is_swept_recalibrated_projected_and_trains_on(run: Run) -> None:
    options = (*RATE, "model.initial_time_d=2", "trainer.limit_train_batches=3", "epochs=1")
    assert run("train", *options, "hydra.run.dir=run")[0] == 0
    sweep = ("sweep.scheme=[euler,rk4]", "sweep.recalibrate=true", "project.n_basis=1")
    study = ("ckpt_path=run", *sweep, "project.save=true", "hydra.run.dir=study")
    code, _, err = run("evaluate", *study)
    assert (code, err.count("\n")) == (1, 1)
    assert "add 'trust=[classes]'" in err
    code, _, err = run("evaluate", *study, "trust=[classes]")
    assert (code, err) == (0, "")
    table = rows("study/invariance.csv")
    assert {row["n_basis"] for row in table} == {"2", "1"}
    assert float(table[0]["accuracy"]) == result("run")["test_accuracy"]
    folder = "study/piecewise_constant-1"
    tuning = ("ckpt_path=last", f"hydra.run.dir={folder}", "epochs=2", "trust=[classes]")
    code, _, err = run("train", *tuning)
    assert (code, err) == (0, "")
    assert [block.n_basis for block in Record.of(load(Path(folder, LAST))).depth] == [1, 1, 1]


def test_a_network_without_ode_blocks_for_grey_images_alone_is_trained_and_evaluated(
    run: Run,
) -> None:
    network = ("model=own", "model._target_=classes.Grey", "+model.width=6")
    code, _, err = run("train", *network, "epochs=1", "hydra.run.dir=run")
    assert (code, err) == (0, "")
    assert result("run")["parameters"] == 64 * 6 + 6 + 6 * 10 + 10
    code, _, err = run("evaluate", "ckpt_path=run", "trust=[classes]", "hydra.run.dir=study")
    assert (code, err) == (0, "")
    (row,) = rows("study/invariance.csv")
    assert float(row["accuracy"]) == result("run")["test_accuracy"]
    code, _, err = run("train", *network, "epochs=2", "refine.epochs=[1]")
    assert (code, err.count("\n")) == (1, 1)
    assert "refine.epochs must be [] for Grey, which has no depth-time" in err


def test_an_own_option_of_a_group_is_chosen_by_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "thin.yaml").write_text(
        "defaults: [continuous_net, _self_]\nalpha: 2\nrate: {_target_: classes.Rate, hidden: 1}\n"
    )
    small = ("trainer.limit_train_batches=1", "epochs=1", "hydra.run.dir=run")
    code, _, err = run("train", "--config-dir=own", "model=thin", *small)
    assert (code, err) == (0, "")
    state = load(Path("run", LAST))["state_dict"]
    assert state["network.blocks.2.nodes.0.up.weight"].shape == (8, 1, 3, 3)
