"""Runs that are refined at shares of their steps, within an epoch too."""

import copy
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

import contnet
from contnet import ODEBlock
from contnet.commands.depth import check_depth, growth, refinement
from contnet.errors import ConfigError
from contnet.ode.depth_time import depth_time
from contnet.runs.checkpoint import Record
from contnet.training.callbacks.refinement import DepthRefinement
from contnet.training.callbacks.throughput import Throughput
from contnet.training.classifier import Classifier
from tests.configuration import composed
from tests.conftest import Run
from tests.outcomes import LAST, assert_same, assert_same_end, load

# Two epochs of 10 steps: the refinement is due after 12.
OPTIONS = ("model.alpha=2", "epochs=2", "trainer.limit_train_batches=10", "lr_schedule=wsd")
GROWING = (*OPTIONS, "refine.at=[0.6]", "refine.to=[3]", "refine.variance=0.1")
MANIFESTATIONS = ("manifestations=random", "manifestations.n_time_steps=[1,2]")


def stopped_after(n_batches: int) -> Callable[..., None]:
    """Return a hook that stops the run after so many batches of its second epoch."""
    original = Throughput.on_train_batch_end

    def hook(self: Throughput, trainer: Trainer, *rest: Any) -> None:
        original(self, trainer, *rest)
        if trainer.current_epoch == 1 and rest[-1] + 1 == n_batches:
            os.kill(os.getpid(), signal.SIGTERM)

    return hook


@pytest.mark.parametrize(
    "more",
    [
        ("refine.epsilon=grow", "callbacks=ema", "callbacks.ema.window=0.2"),
        pytest.param(("model.basis=continuous_linear",), marks=pytest.mark.long),
        pytest.param(("model.basis=legendre", "refine.epsilon=grow"), marks=pytest.mark.long),
        pytest.param((*MANIFESTATIONS, "refine.epsilon=grow"), marks=pytest.mark.long),
        pytest.param(("optimizer=adamw", "refine.epsilon=grow"), marks=pytest.mark.long),
        pytest.param(("trainer.accumulate_grad_batches=3",), marks=pytest.mark.long),
    ],
    ids=str,
)
def test_a_run_stopped_around_a_refinement_within_an_epoch_ends_as_one_that_was_not(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    options = (*GROWING, *more)
    assert run("train", *options, "hydra.run.dir=through")[0] == 0
    refined = [
        block["n_basis"] for block in load("through/checkpoints/last.ckpt")["contnet"]["depth"]
    ]
    assert refined == [3, 3, 3]
    for stop in (2, 4):  # when the refinement is due, and after it
        with monkeypatch.context() as patch:
            patch.setattr(Throughput, "on_train_batch_end", stopped_after(stop))
            assert run("train", *options, f"hydra.run.dir=run{stop}")[0] != 0
        code, out, err = run("train", "ckpt_path=last", f"hydra.run.dir=run{stop}")
        assert code == 0, err
        assert ("refined 1-1-1 -> 3-3-3" in out) == (stop == 2)
        assert_same_end(tmp_path / "through", tmp_path / f"run{stop}")


def test_a_refinement_within_an_epoch_is_one_map_at_its_step(run: Run) -> None:
    code, out, _ = run("train", *OPTIONS, "refine.at=[0.6]", "refine.to=[8]", "hydra.run.dir=run")
    assert code == 0
    (told,) = (line for line in out.splitlines() if "refined" in line)
    assert told.startswith("step 12: refined 1-1-1 -> 8-8-8, ")
    depth = Record.of(load(Path("run") / LAST)).depth[0]
    assert (depth.n_time_steps, depth.refined_by, depth.grown_by) == (8, 8, 1)


def test_a_grown_network_is_evaluated_and_predicts_with_the_epsilon_that_it_has(run: Run) -> None:
    growing = (*OPTIONS, "refine.at=[0.6]", "refine.to=[4]", "refine.epsilon=grow")
    assert run("train", *growing, "hydra.run.dir=run")[0] == 0
    accuracy = re.search(r'"test_accuracy": (\S+),', Path("run/result.json").read_text())
    assert accuracy is not None
    options = ("sweep.scheme=[euler]", "sweep.n_time_steps=[4]", "sweep.convergence=false")
    assert run("evaluate", "ckpt_path=run", *options, "hydra.run.dir=evaluation")[0] == 0
    assert f",{accuracy[1]}" in Path("evaluation/invariance.csv").read_text()
    made = contnet.load("run")
    assert {block.epsilon for block in depth_time(made.network).blocks} == {4.0}
    made.save("grown.safetensors")
    again = contnet.load("grown.safetensors")
    assert depth_time(again.network).depths == depth_time(made.network).depths
    assert {block.epsilon for block in depth_time(again.network).blocks} == {4.0}


def test_a_share_near_the_end_of_a_short_run_refines_before_its_last_step(run: Run) -> None:
    growing = (*OPTIONS, "refine.at=[0.99]", "refine.to=[2]", "hydra.run.dir=run")
    code, out, _ = run("train", *growing)
    assert code == 0
    assert "step 19: refined 1-1-1 -> 2-2-2" in out


def test_a_run_that_is_stopped_at_its_last_stable_step_has_saved_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*OPTIONS, "lr_schedule.decay=0.4", "hydra.run.dir=run")
    with monkeypatch.context() as patch:
        patch.setattr(Throughput, "on_train_batch_end", stopped_after(2))
        assert run("train", *options)[0] != 0
    assert load("run/checkpoints/stable.ckpt")["global_step"] == 12


def test_another_epsilon_than_that_of_the_checkpoint_is_told(run: Run) -> None:
    assert run("train", *OPTIONS, "hydra.run.dir=run")[0] == 0
    resume = ("ckpt_path=run/checkpoints/last.ckpt", "epochs=3", "hydra.run.dir=resumed")
    code, out, err = run("train", *OPTIONS, "model.time_epsilon=2", *resume)
    assert code == 0
    assert "ckpt_path was trained with rates times 1, here 2: model.time_epsilon" in out + err


def test_blocks_of_different_depths_are_refined_by_themselves() -> None:
    network = nn.Sequential(*(ODEBlock(lambda: nn.Conv2d(2, 2, 1), n_basis=n) for n in (1, 4)))
    before = copy.deepcopy(network[1].state_dict())
    config = composed("refine.at=[0.5]", "refine.to=[4]", "refine.variance=0.5")
    callback = refinement(config, growth(config), probe=(), probe_name="")
    trainer: Any = SimpleNamespace(
        callbacks=[], optimizers=[], loggers=[], global_step=3, is_global_zero=False
    )
    trainer.strategy = trainer.precision_plugin = None
    with patch.multiple(callback, _snapshot=Mock(), _report=Mock()):
        callback._refine(trainer, Mock(network=network), 4)
    assert [block.n_basis for block in network] == [4, 4]
    first, second = network[0].nodes[0].weight, network[0].nodes[1].weight
    assert not torch.equal(first, second)  # the noise parts the copies
    assert_same(before, network[1].state_dict(), "block of 4 nodes")
    uneven = nn.Sequential(*(ODEBlock(lambda: nn.Conv2d(2, 2, 1), n_basis=n) for n in (1, 4)))
    many = composed("refine.at=[0.5]", "refine.to=[4]", *MANIFESTATIONS)
    with pytest.raises(ConfigError, match=r"by the same factor .*, got factors 1, 4"):
        check_depth(many, uneven)


@pytest.mark.parametrize("epsilon", ["keep", "grow"])
def test_the_average_of_the_weights_is_refined_by_the_same_map(
    run: Run, monkeypatch: pytest.MonkeyPatch, epsilon: str
) -> None:
    """A refinement is linear in the weights, so the average of copies is a copy of the average."""
    original = DepthRefinement._refine
    seen = []

    def refine(
        self: DepthRefinement, trainer: Trainer, classifier: Classifier, n_basis: int | None
    ) -> None:
        (average,) = (one for one in trainer.callbacks if hasattr(one, "window"))
        networks = (classifier.network, average.network)
        before = [
            {name: value.clone() for name, value in network.state_dict().items()}
            for network in networks
        ]
        original(self, trainer, classifier, n_basis)
        for network, old in zip(networks, before, strict=True):
            factor = 3 if epsilon == "grow" else 1
            assert {block.epsilon for block in network.blocks} == {float(factor)}
            for name, value in network.state_dict().items():
                expected = old[re.sub(r"nodes\.\d", "nodes.0", name)]
                if re.search(r"nodes\.\d\.bn2\.(weight|bias)", name):
                    expected = expected / factor
                if re.search(r"nodes\.\d.*(conv|running_mean)", name):
                    expected = expected / factor**0.5
                if re.search(r"nodes\.\d.*running_var", name):
                    expected = expected / factor
                torch.testing.assert_close(value, expected)
        seen.append(trainer.global_step)

    monkeypatch.setattr(DepthRefinement, "_refine", refine)
    growing = (*OPTIONS, "refine.at=[0.6]", "refine.to=[3]", f"refine.epsilon={epsilon}")
    assert run("train", *growing, "callbacks=ema", "hydra.run.dir=run")[0] == 0
    assert seen == [12]


def test_manifestations_take_more_steps_by_the_factor_of_the_refinement(run: Run) -> None:
    growing = (*OPTIONS, "refine.at=[0.6]", "refine.to=[3]", *MANIFESTATIONS)
    assert run("train", *growing, "hydra.run.dir=run")[0] == 0
    members = Record.of(load(Path("run") / LAST)).manifestations
    assert {one.n_time_steps for one in members} == {3, 6}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["refine.at=[0.8]"], "refine.to must have a number of nodes for each share in at"),
        (["refine.to=[8]"], "refine.to must have a number of nodes for each share in at"),
        (["refine.at=[8]", "refine.to=[8]"], "refine.at must be a number greater than 0 and less"),
        (
            ["refine.at=[0.8]", "refine.to=[3]", "model.initial_time_d=2"],
            "refine.to must be other numbers; piecewise_constant, 2 nodes can be refined to 4, 6,",
        ),
        (
            ["refine.at=[0.8]", "refine.to=[8]", "refine.epochs=[2]"],
            "refine.epochs must be [] where at is given, got [2]",
        ),
        (
            ["refine.at=[0.8]", "refine.to=[9999]"],
            "refine.to must be other numbers; n_basis must be at most 1024 with the basis",
        ),
        (
            ["refine.at=[0.8]", "refine.to=[64]", "model.basis=legendre"],
            "refine.to must be other numbers; n_basis must be at most 32 with the basis legendre",
        ),
        (["refine.epsilon=shrink"], "refine.epsilon must be one of keep, grow; got 'shrink'"),
        (
            ["refine.at=[0.8]", "refine.to=[8]", "model=resnet"],
            "refine.to must be [] for ResNet, which has no depth-time",
        ),
        (
            [
                "refine.at=[0.8]",
                "refine.to=[1024]",
                *MANIFESTATIONS,
                "manifestations.n_time_steps=[8]",
            ],
            "manifestations.n_time_steps and refine.to must lead to at most 4096 time steps",
        ),
    ],
)
def test_a_growth_that_cannot_be_is_one_line(
    run: Run, tmp_path: Path, overrides: list[str], message: str
) -> None:
    code, _, err = run("train", *overrides, "hydra.run.dir=run")
    assert (code, err.count("\n")) == (1, 1), err
    assert message in err
    assert not (tmp_path / "run").exists()


def test_nodes_of_a_checkpoint_that_cannot_be_refined_so_are_one_line(run: Run) -> None:
    three = (*OPTIONS, "refine.at=[0.1]", "refine.to=[3]")
    assert run("train", *three, "hydra.run.dir=run")[0] == 0
    other = (*OPTIONS, "refine.at=[0.9]", "refine.to=[8]", "epochs=3")
    code, _, err = run("train", *other, "ckpt_path=run/checkpoints/last.ckpt")
    assert (code, err.count("\n")) == (1, 1), err
    assert "refine.to must be other numbers; piecewise_constant, 3 nodes can be refined to 6" in err
