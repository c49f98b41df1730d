"""Training with adaptive schemes: what it costs is shown, and what fails is told in one line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from contnet.networks.units import ResidualUnit
from contnet.training.callbacks.throughput import Throughput
from tests.conftest import Run
from tests.outcomes import LAST, load, rows

TINY = ("model.alpha=1", "dataset.batch_size=512", "hydra.run.dir=run", "epochs=1")
GRADIENTS_AND_BASES = [
    ("backprop", "piecewise_linear"),
    ("backprop", "continuous_linear"),
    ("checkpoint", "legendre"),
    ("adjoint", "piecewise_constant"),
]


def test_the_rate_evaluations_of_an_epoch_are_shown_and_logged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = []
    forward = ResidualUnit.forward

    def counted(self: ResidualUnit, *arguments: Any) -> torch.Tensor:
        if self.training:
            evaluated.append(len(arguments[0]))
        return forward(self, *arguments)

    monkeypatch.setattr(ResidualUnit, "forward", counted)
    options = ("scheme=dopri5", "model.stitch=false", "trainer.limit_train_batches=2")
    code, out, err = run("train", *TINY, *options, "scheme.rtol=1e-2", "scheme.atol=1e-2")
    assert (code, err) == (0, "")
    mean = len(evaluated) / 2
    assert mean >= 3 * 7  # three blocks, a step of seven stages at least
    row = rows(tmp_path / "run/metrics.csv")[0]
    assert float(row["n_f_evals"]) == mean
    accepted, rejected = float(row["n_accepted"]), float(row["n_rejected"])
    shown = f"n_f_evals {mean:.1f}  n_accepted {accepted:.1f}  n_rejected {rejected:.1f}"
    assert f"  {shown}  lr " in out
    # Two evaluations choose the first length in each of three blocks; a step has six more.
    assert mean == 6 + 6 * (accepted + rejected)
    [folder] = (tmp_path / "run" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert [event.value for event in events.Scalars("speed/n_f_evals")] == [mean]


def test_a_scheme_with_fixed_steps_has_no_number_of_evaluations_to_show(run: Run) -> None:
    _, out, _ = run("train", *TINY, "trainer.limit_train_batches=1")
    for name in ("n_f_evals", "n_accepted"):
        assert name not in out
        assert name not in rows("run/metrics.csv")[0]


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all weights NaN after the first batch of a run."""
    original = Throughput.on_train_batch_end

    def then(self: Throughput, trainer: Any, module: Any, *rest: Any) -> None:
        original(self, trainer, module, *rest)
        for parameter in module.network.parameters():
            parameter.data.fill_(torch.nan)

    monkeypatch.setattr(Throughput, "on_train_batch_end", then)


def is_told(code: int, err: str, reason: str) -> bool:
    first, *rest = err.splitlines()
    assert first.startswith(f"error: scheme dopri5 cannot reach {reason}"), first
    assert ", between t = 0 and 1;" in first or ", between t = 0 and 1/2;" in first
    assert "; lower optimizer.lr if the loss has grown, increase scheme.rtol and scheme.a" in first
    return code == 1 and len(rest) == 1


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("gradient", "basis"), GRADIENTS_AND_BASES)
def test_a_state_that_is_not_finite_ends_a_run_in_one_line(
    run: Run, gradient: str, basis: str
) -> None:
    options = ("scheme=dopri5", f"scheme.gradient={gradient}", f"model.basis={basis}")
    code, _, err = run("train", *TINY, *options, "model.initial_time_d=2", "scheme.rtol=1e-2")
    assert is_told(code, err, "rtol=0.01, atol=0.0001: the state is not finite")


@pytest.mark.parametrize(("gradient", "basis"), GRADIENTS_AND_BASES)
def test_a_run_that_needs_too_many_steps_ends_in_one_line(
    run: Run, gradient: str, basis: str
) -> None:
    options = ("scheme=dopri5", f"scheme.gradient={gradient}", f"model.basis={basis}")
    limit = ("model.initial_time_d=2", "scheme.rtol=1e-9", "scheme.max_num_steps=1")
    code, _, err = run("train", *TINY, *options, *limit)
    reason = "1 step is not enough (max_num_steps), at t = 0"
    if gradient == "adjoint":
        reason = "max_num_steps exceeded (1>=1)"
    assert is_told(code, err, f"rtol=1e-09, atol=0.0001: {reason}")


RATE = """
from torch import nn

class Rate(nn.Sequential):
    def __init__(self, channels):
        super().__init__(nn.Conv2d(channels, channels, 1))

    def forward(self, x):
        return super().forward(x) + (0 * x).sqrt()  # 0, with a gradient that is NaN
"""


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint"])
def test_a_gradient_that_is_not_finite_ends_a_run_in_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gradient: str
) -> None:
    (tmp_path / f"rate_of_{gradient}.py").write_text(RATE)
    monkeypatch.syspath_prepend(tmp_path)
    own = (f"+model.rate._target_=rate_of_{gradient}.Rate",)
    options = ("scheme=dopri5", f"scheme.gradient={gradient}", "scheme.rtol=1e-2")
    code, _, err = run("train", *TINY, *options, *own)
    first, *rest = err.splitlines()
    assert (code, len(rest)) == (1, 1)
    what = "scheme dopri5 cannot reach rtol=0.01, atol=0.0001: the state is"
    if gradient == "adjoint":
        what = "the gradient cannot be integrated by scheme.gradient=adjoint: it is"
    assert first.startswith(f"error: {what} not finite")


def test_the_evaluations_of_an_epoch_are_those_of_the_run_that_was_not_stopped(
    run: Run, tmp_path: Path
) -> None:
    options = ("model.alpha=1", "dataset.batch_size=512", "scheme=bosh3", "scheme.rtol=1e-1")
    more = ("scheme.atol=1e-1", "epochs=1", "dataset.val_size=0")
    assert run("train", *options, *more, "hydra.run.dir=through")[0] == 0
    assert run("train", *options, *more, "trainer.max_steps=2", "hydra.run.dir=run")[0] == 0
    assert run("train", "ckpt_path=last", "hydra.run.dir=run", "trainer.max_steps=-1")[0] == 0
    assert load(tmp_path / "run" / LAST)["global_step"] == 3
    through, resumed = (rows(tmp_path / name / "metrics.csv")[0] for name in ("through", "run"))
    assert through["n_f_evals"] == resumed["n_f_evals"]


def test_the_limit_of_steps_is_checked(run: Run) -> None:
    code, _, err = run("train", *TINY, "scheme=dopri5", "scheme.max_num_steps=0")
    assert (code, err.count("\n")) == (1, 1)
    assert "max_num_steps must be a whole number of at least 1, got 0" in err
