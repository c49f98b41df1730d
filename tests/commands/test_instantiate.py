"""What the user's own configuration names is imported, called and checked: one line where it fails.

Trust in what a checkpoint names is tested with the checkpoints.
"""

import sys
from pathlib import Path

import pytest

from contnet.commands import train
from contnet.errors import ConfigError
from tests.conftest import Run

BROKEN = '''
"""Classes that cannot be used, each for its own reason."""

from torch import nn


class NoArguments(nn.Module):
    pass


class Fails(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        raise KeyError("weights.pt")


class Needs(nn.Module):
    def __init__(self, in_channels, num_classes, width):
        super().__init__()


class FailsInForward(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.layer = nn.Linear(3, num_classes)

    def forward(self, x):
        return self.layer(x)


def returns_text(in_channels, num_classes):
    return "a network"


def text_rate(channels):
    return "a rate"


def shapeless_rate(channels):
    return nn.Flatten()
'''

OWN = "model=own"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [OWN, "model._target_=nothing.Net"],
            "model._target_ must name something that can be imported; nothing.Net: "
            "ModuleNotFoundError: No module named 'nothing'",
        ),
        (
            [OWN, "model._target_=broken.Absent"],
            "model._target_ must name something that can be imported; broken.Absent: ",
        ),
        (
            [OWN, "model._target_=syntax.Net"],
            "model._target_ must name something that can be imported; syntax.Net: SyntaxError: ",
        ),
        ([OWN], "model._target_ must be given, as model._target_=package.module.Name"),
        (
            [OWN, "model._target_=broken.NoArguments"],
            "model._target_ must take in_channels; broken.NoArguments has no such argument",
        ),
        (
            [OWN, "model._target_=broken.Needs"],
            "model.width must be given; broken.Needs needs it",
        ),
        (
            [OWN, "model._target_=broken.Needs", "+model.widht=3"],
            "model.widht is not an option of Needs",
        ),
        (
            [OWN, "model._target_=broken.Fails"],
            "model: broken.Fails cannot be used; KeyError: 'weights.pt'; HYDRA_FULL_ERROR=1 shows",
        ),
        (
            [OWN, "model._target_=broken.FailsInForward"],
            "model: broken.FailsInForward cannot be used for an image (1, 1, 8, 8); RuntimeError: ",
        ),
        (
            [OWN, "model._target_=broken.returns_text"],
            "model._target_ must make a torch.nn.Module; broken.returns_text made an object of "
            "type str",
        ),
        (
            ["+model.rate._target_=broken.text_rate"],
            "model.rate._target_ must make a torch.nn.Module; broken.text_rate made an object of",
        ),
        (
            ["+model.rate._target_=broken.NoArguments"],
            "model.rate._target_ must take channels; broken.NoArguments has no such argument",
        ),
        (
            ["+model.rate._target_=broken.shapeless_rate", "model.alpha=2"],
            "model.rate: broken.shapeless_rate must keep the shape of its input; (1, 2, 8, 8) "
            "became (1, 128)",
        ),
        (
            ["model.rate=broken.text_rate"],
            "model.rate must be null or the name of a class as rate._target_",
        ),
        (
            ["+model.rate._target_=torch.nn.Identity", "model.use_skipinit=true"],
            "model.use_skipinit must be false with model.rate",
        ),
        (
            ["+callbacks.mine._target_=torch.nn.Identity"],
            "callbacks.mine._target_ must make a callback of Lightning; torch.nn.Identity made an",
        ),
        (
            ["+logger.mine._target_=torch.nn.Identity"],
            "logger.mine._target_ must make a logger of Lightning; torch.nn.Identity made an",
        ),
        (
            ["optimizer._target_=torch.nn.Identity"],
            "optimizer._target_ must make an optimizer of PyTorch; torch.nn.Identity made an",
        ),
        (["optimizer._target_=nothing.Optimizer"], "optimizer._target_ must name something that"),
    ],
)
def test_an_own_class_that_cannot_be_used_is_one_line(
    run: Run, tmp_path: Path, overrides: list[str], message: str
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "syntax.py").write_text("class Net(:\n")
    before = set(tmp_path.iterdir())
    code, out, err = run("train", *overrides)
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert f"error: {message}" in err
    left = {path.name for path in set(tmp_path.iterdir()) - before}
    assert left <= {"__pycache__"}


def test_the_traceback_of_an_own_class_is_shown_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["train", OWN, "model._target_=broken.Fails"])
    with pytest.raises(ConfigError, match=r"weights\.pt") as raised:
        train.main()
    causes: list[type[BaseException]] = []
    error: BaseException | None = raised.value
    while error is not None:
        causes.append(type(error))
        error = error.__cause__
    assert KeyError in causes
