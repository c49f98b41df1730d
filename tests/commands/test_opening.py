"""The first lines of a training."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from contnet import ContinuousNet, ResNet
from contnet.commands.job import Job
from contnet.commands.opening import COLUMNS, announce
from tests.configuration import composed

LONG = Path("/a/long-name-of-a-folder/with-dashes/that-is-wider/than-a-screen/of/eighty/columns")


def opening(
    network: nn.Module, caplog: pytest.LogCaptureFixture, *, model: str = "own", **trainer: Any
) -> list[str]:
    images = SimpleNamespace(
        train=range(45_000), val=range(5_000), test=range(10_000), num_classes=10
    )
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    settings = {"is_global_zero": True, "world_size": 1, "max_epochs": 1, "precision": "32-true"}
    made: Any = SimpleNamespace(strategy=strategy, **{**settings, **trainer})
    job = Job(LONG, Path("/a"), False, (), {"model": model, "dataset": "cifar10"})
    config = composed(f"model={model}") if model != "own" else composed("model=resnet")
    data: Any = images
    with caplog.at_level(logging.INFO):
        announce(config, job, network, data, made)
    return [line for record in caplog.records for line in record.message.split("\n")]


def test_a_continuous_network_is_told_with_its_blocks(caplog: pytest.LogCaptureFixture) -> None:
    network = ContinuousNet(alpha=2, initial_time_d=2, scheme="rk4")
    lines = " ".join(opening(network, caplog, model="continuous_net")).replace("   ", " ")
    assert "continuous_net: 3 ODE blocks of 2 nodes (piecewise_constant), rk4 in 2 steps;" in lines
    assert " parameters cifar10: 45,000 training, 5,000 validation and 10,000 test images" in lines
    assert "1 epoch on " in lines


def test_blocks_that_differ_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    network = ContinuousNet(alpha=2, scheme="dopri5")
    blocks = [module for module in network.modules() if hasattr(module, "set_manifestation")]
    blocks[-1].set_manifestation("euler", 4)
    text = " ".join(opening(network, caplog))
    assert "ContinuousNet:" in text
    assert "of 1 node (piecewise_constant), dopri5" in text
    assert "of 1 node (piecewise_constant), euler in 4 steps" in " ".join(text.split())


def test_a_residual_network_is_told_with_its_depth(caplog: pytest.LogCaptureFixture) -> None:
    network = ResNet(alpha=2, depth=20)
    assert opening(network, caplog, model="resnet")[0].startswith("resnet: depth 20; ")


def test_lines_fit_into_80_columns_and_a_path_stays_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = ContinuousNet(alpha=2, initial_time_d=8, basis="legendre")
    lines = opening(network, caplog, model="continuous_net")
    path = str(LONG.relative_to("/a"))
    assert [line.strip() for line in lines if path in line] == [path]
    assert max(len(line) for line in lines if path not in line) <= COLUMNS


def test_one_of_several_processes_tells_it(caplog: pytest.LogCaptureFixture) -> None:
    assert opening(nn.Linear(1, 1), caplog, is_global_zero=False) == []
    assert " in 2 processes; " in " ".join(opening(nn.Linear(1, 1), caplog, world_size=2))
