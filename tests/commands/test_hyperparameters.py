"""The columns of TensorBoard's table of hyper-parameters."""

from pathlib import Path

import pytest

from contnet.commands.hyperparameters import columns
from contnet.commands.job import Job
from tests.configuration import composed

CHOICES = {
    "dataset": "digits",
    "model": "continuous_net",
    "scheme": "euler",
    "manifestations": "trained",
    "optimizer": "sgd",
    "lr_schedule": "multistep",
    "trainer": "default",
    "hydra/launcher": "basic",
}


def shown(*overrides: str, **choices: str) -> dict[str, object]:
    job = Job(Path("run"), Path(), False, overrides, {**CHOICES, **choices})
    return columns(composed(*overrides), job)


def test_the_table_has_what_matters_and_no_more() -> None:
    table = shown()
    assert len(table) <= 17
    assert table["scheme"] == "euler"
    assert table["optimizer.lr"] == 0.1
    assert "model.depth" not in table
    assert "model.time_epsilon" not in table  # null


def test_the_table_has_what_the_user_has_set() -> None:
    table = shown(
        "optimizer.momentum=0.8",
        "++label_smoothing=0.1",
        "refine.epochs=[1,2]",
        "ckpt_path=null",
        "logger.tensorboard.name=x",
        "~callbacks.best",
        "trainer=cpu",
        trainer="cpu",
    )
    assert table["optimizer.momentum"] == 0.8
    assert table["label_smoothing"] == 0.1
    assert table["refine.epochs"] == "[1, 2]"
    assert table["trainer"] == "cpu"
    assert not {"ckpt_path", "logger.tensorboard.name", "callbacks.best"} & table.keys()


@pytest.mark.parametrize("more", [(), ("scheme=rk4",)], ids=["default", "a scheme is set"])
def test_a_network_of_a_fixed_number_of_units_has_no_scheme(more: tuple[str, ...]) -> None:
    table = shown("model=resnet", *more, model="resnet")
    assert table["model.depth"] == 20
    assert not [key for key in table if key.startswith(("scheme", "manifestations"))]
