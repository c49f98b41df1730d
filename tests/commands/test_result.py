"""What a finished training shows on the screen and writes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from contnet import ContinuousNet
from contnet.commands import build, result
from tests.configuration import composed
from tests.outcomes import result as result_of


def test_the_table_has_rounded_figures(capsys: pytest.CaptureFixture[str]) -> None:
    figures: dict[str, Any] = {
        "test_accuracy": 0.912345,
        "val_accuracy": 1.0,
        "test_accuracy_rk4_classic_4": 0.5,
        "test_loss": 0.0123456,
        "parameters": 175482,
        "train_seconds": 5025.4,
        "images_per_second": 1778.49,
        "stopped_by": None,
    }
    result._show(figures, Path("run"), Path(), None)
    shown = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines()[1:-1]]
    assert [tuple(cell.strip() for cell in row) for row in shown] == [
        ("test accuracy", "91.23 %"),
        ("val accuracy", "100.00 %"),
        ("test accuracy rk4_classic_4", "50.00 %"),
        ("test loss", "0.0123"),
        ("parameters", "175,482"),
        ("training time", "1 h 24 min"),
        ("speed", "1,778 images/s"),
        ("written to", "run"),
    ]


def test_a_result_says_which_images_it_is_of() -> None:
    data = build.data(composed("dataset.n_train=100").dataset, train=True)
    of_data = result._images(data)
    assert of_data["train_images"] == 100
    assert of_data["val_images"] + of_data["test_images"] > 400
    assert "unreadable_images" not in of_data
    again = build.data(composed("dataset.batch_size=7").dataset, train=False)
    assert result._images(again)["test_digest"] == of_data["test_digest"]
    again.test = again.test.subset(torch.arange(3))
    assert result._images(again)["test_digest"] != of_data["test_digest"]


@pytest.mark.parametrize(
    ("network", "metrics", "n_f_evals"),
    [
        (ContinuousNet(alpha=2, initial_time_d=2, scheme="rk4"), {}, 3 * 2 * 4),
        (ContinuousNet(alpha=2, scheme="dopri5"), {"n_f_evals": 21.5}, 21.5),
        (nn.Linear(1, 1), {}, None),
    ],
    ids=["fixed steps", "adaptive", "no blocks"],
)
def test_a_result_has_the_cost_of_a_pass(
    network: nn.Module, metrics: dict[str, Any], n_f_evals: float | None
) -> None:
    assert result._depth(network, metrics)["n_f_evals"] == n_f_evals


def test_a_result_has_the_times_of_its_command(trained: Path) -> None:
    found = result_of(trained)
    for name in ("started", "finished"):
        assert len(found[name]) == len("2026-01-01T00:00:00+00:00")
    assert found["started"] <= found["finished"]
    assert found["precision"] == "32-true"
