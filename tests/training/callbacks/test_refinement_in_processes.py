"""Refinement in two processes that train together."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.outcomes import load
from tests.processes import train

AT_AN_EPOCH = ("refine.epochs=[1]",)
WITHIN_AN_EPOCH = ("refine.at=[0.55]", "refine.to=[3]", "refine.epsilon=grow", "callbacks=ema")

RANKS = ("one/rank0", "two/rank0", "two/rank1")


def ranks(
    tmp_path: Path, *overrides: str, refined: tuple[str, ...] = AT_AN_EPOCH
) -> dict[str, dict[str, Tensor]]:
    """Final weights of one process, and of both of two that share the same global batches."""
    common = (
        "epochs=3",
        "model.alpha=4",
        "refine.variance=0.1",
        *refined,
        "optimizer.lr=0.02",
        *overrides,
    )
    common += (
        "trainer.accelerator=cpu",
        "trainer.limit_train_batches=8",
        "trainer.precision=64-true",
    )
    for name, more in (
        ("one", ("dataset.batch_size=64",)),
        ("two", ("dataset.batch_size=32", "trainer.strategy=ddp", "trainer.devices=2")),
    ):
        options = (*common, *more, f"hydra.run.dir={name}")
        done = train(*options, folder=tmp_path, fault="keep_weights_of_each_process")
        assert done.returncode == 0, done.stderr
    return {file: load(tmp_path / f"{file}.pt") for file in RANKS}


@pytest.mark.long
@pytest.mark.parametrize(
    "basis", ["piecewise_constant", pytest.param("legendre", marks=pytest.mark.long)]
)
def test_two_processes_refine_alike_and_as_one_process_does(tmp_path: Path, basis: str) -> None:
    one, first, second = ranks(tmp_path, "model.batch_norm=false", f"model.basis={basis}").values()
    assert len([name for name in first if name.endswith("nodes.1.conv1.weight")]) == 3
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-5)


@pytest.mark.long
def test_two_processes_grow_within_an_epoch_as_one_process_does(tmp_path: Path) -> None:
    one, first, second = ranks(tmp_path, "model.batch_norm=false", refined=WITHIN_AN_EPOCH).values()
    assert len([name for name in first if name.endswith("nodes.2.conv1.weight")]) == 3
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-5)


@pytest.mark.long
def test_two_processes_with_batch_norms_of_their_own_keep_equal_weights(tmp_path: Path) -> None:
    _, first, second = ranks(tmp_path, "model.batch_norm=true").values()
    assert len([name for name in first if name.endswith("nodes.1.bn1.weight")]) == 3
    for name, value in first.items():
        if "running" not in name:
            assert torch.equal(value, second[name]), name


@pytest.mark.long
def test_two_processes_draw_the_same_manifestations_as_one(tmp_path: Path) -> None:
    random = ("manifestations=random", "manifestations.n_time_steps=[1,2]")  # 1 leaves out a node
    options = ("model.batch_norm=false", "model.initial_time_d=2", *random)
    one, first, second = ranks(tmp_path, *options).values()
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-5)
