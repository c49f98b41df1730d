import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import WeightAveraging

from contnet.training.callbacks.averaging import ExponentialAverage
from contnet.training.classifier import Classifier
from tests.conftest import Run
from tests.outcomes import assert_same


def test_the_averaged_weights_are_what_is_tested_kept_and_evaluated(run: Run) -> None:
    options = (
        "epochs=2",
        "model.alpha=2",
        "optimizer.lr=0.5",
        "callbacks=ema",
        "callbacks.ema.window=0.25",
    )
    assert run("train", *options, "hydra.run.dir=run")[0] == 0
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    name = "network.head.linear.weight"
    assert not torch.allclose(
        checkpoint["state_dict"][name], checkpoint["current_model_state"][name], rtol=1e-3
    )
    assert (
        run("evaluate", "ckpt_path=run", "sweep.convergence=false", "hydra.run.dir=evaluation")[0]
        == 0
    )
    (evaluated,) = json.loads(Path("evaluation/invariance.json").read_text())
    trained = json.loads(Path("run/result.json").read_text())
    assert evaluated["rows"][0]["accuracy"] == trained["test_accuracy"]
    assert run("train", "ckpt_path=last", "hydra.run.dir=run")[0] == 0  # with nothing left to train
    resumed = json.loads(Path("run/result.json").read_text())
    assert (resumed["test_accuracy"], resumed["test_loss"]) == (
        trained["test_accuracy"],
        trained["test_loss"],
    )


@pytest.mark.long
def test_a_run_that_fails_while_validating_its_average_resumes_from_the_epoch_before(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "epochs=2",
        "model.alpha=2",
        "optimizer.lr=0.5",
        "callbacks=ema",
        "callbacks.ema.window=0.25",
    )
    assert run("train", *options, "hydra.run.dir=through")[0] == 0
    original = Classifier.validation_step

    def fail(self: Classifier, batch: Any, batch_idx: int) -> None:
        original(self, batch, batch_idx)
        if self.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "validation_step", fail)
        assert run("train", *options, "hydra.run.dir=stopped")[0] != 0
    assert torch.load("stopped/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    assert run("train", "ckpt_path=last", "hydra.run.dir=stopped")[0] == 0
    through, stopped = (
        torch.load(f"{n}/checkpoints/last.ckpt", weights_only=True) for n in ("through", "stopped")
    )
    for key in ("state_dict", "current_model_state"):
        assert_same(stopped[key], through[key], key)


@pytest.mark.long
def test_a_resumed_run_goes_on_with_its_average_to_the_last_bit(run: Run) -> None:
    options = (
        "model.alpha=2",
        "callbacks=ema",
        "callbacks.ema.window=0.25",
        "lr_schedule.milestones=[3]",
    )
    as_many_steps = "callbacks.ema.window=0.375"  # of two epochs as 0.25 of three
    assert run("train", *options, "epochs=3", "hydra.run.dir=through")[0] == 0
    assert run("train", *options, "epochs=2", as_many_steps, "hydra.run.dir=stopped")[0] == 0
    resume = "ckpt_path=stopped/checkpoints/last.ckpt"
    code, _, err = run("train", *options, "epochs=3", resume, "hydra.run.dir=resumed")
    assert (code, err) == (0, "")
    through, resumed = (
        torch.load(f"{n}/checkpoints/last.ckpt", weights_only=True) for n in ("through", "resumed")
    )
    for key in ("state_dict", "current_model_state"):
        for name, value in through[key].items():
            assert torch.equal(value, resumed[key][name]), name


def test_the_average_of_weights_has_a_window_in_steps_of_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "network.head.linear.weight"
    weights = []

    def keep(
        self: ExponentialAverage, trainer: Trainer, classifier: Classifier, *batch: Any
    ) -> None:
        WeightAveraging.on_train_batch_end(self, trainer, classifier, *batch)
        weights.append(classifier.state_dict()[name].clone())

    monkeypatch.setattr(ExponentialAverage, "on_train_batch_end", keep)
    for epochs in (1, 2):
        weights.clear()
        options = (
            "model.alpha=2",
            "optimizer.lr=0.5",
            f"epochs={epochs}",
            f"hydra.run.dir={epochs}",
        )
        assert run("train", *options, "callbacks=ema", "callbacks.ema.window=0.25")[0] == 0
        expected = weights[0]
        for current in weights[1:]:
            expected = expected + (current - expected) / (0.25 * len(weights))
        averaged = torch.load(f"{epochs}/checkpoints/last.ckpt", weights_only=True)["state_dict"][
            name
        ]
        torch.testing.assert_close(averaged, expected)


def test_a_window_of_less_than_a_step_averages_nothing(run: Run) -> None:
    options = ("model.alpha=2", "epochs=1", "callbacks=ema", "callbacks.ema.window=1e-9")
    assert run("train", *options, "hydra.run.dir=run")[0] == 0
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert_same(checkpoint["state_dict"], checkpoint["current_model_state"], "ema")


@pytest.mark.parametrize("window", ["0", "1", "-0.1", "long"])
def test_a_window_that_is_no_share_is_refused(run: Run, window: str) -> None:
    code, _, err = run("train", "callbacks=ema", f"callbacks.ema.window={window}")
    assert (code, err.count("\n")) == (1, 1)
    assert "callbacks.ema.window must be a number greater than 0 and less than 1, got" in err


@pytest.mark.parametrize(
    "precision", ["64-true", pytest.param("bf16-true", marks=pytest.mark.long)]
)
def test_weights_of_every_precision_are_averaged_and_resumed_to_the_last_bit(
    run: Run, precision: str
) -> None:
    options = ("model.alpha=2", "callbacks=ema", f"trainer.precision={precision}")
    options += ("trainer.limit_train_batches=3", "lr_schedule.milestones=[1]")
    # One window, in steps, and so one share for each length of the run.
    whole = ("epochs=2", "callbacks.ema.window=0.2")
    assert run("train", *options, *whole, "hydra.run.dir=through")[0] == 0
    half = ("epochs=1", "callbacks.ema.window=0.4")
    assert run("train", *options, *half, "hydra.run.dir=stopped")[0] == 0
    resume = "ckpt_path=stopped/checkpoints/last.ckpt"
    assert run("train", *options, *whole, resume, "hydra.run.dir=resumed")[0] == 0
    through, resumed = (
        torch.load(f"{n}/checkpoints/last.ckpt", weights_only=True) for n in ("through", "resumed")
    )
    for key in ("state_dict", "current_model_state", "optimizer_states"):
        assert_same(through[key], resumed[key], key)
