"""The presets of the group `debug`, and what Lightning reports on the screen."""

from pathlib import Path

import pytest
import torch

from contnet.commands import build
from tests.configuration import composed
from tests.conftest import Run
from tests.outcomes import result, rows

SMALL = ("model.alpha=2", "hydra.run.dir=run")


def test_debug_fast_takes_one_step_and_leaves_all_that_a_run_leaves(
    run: Run, tmp_path: Path
) -> None:
    code, out, err = run("train", *SMALL, "debug=fast", "refine.epochs=[3]")
    assert (code, err) == (0, "")
    assert "stopped: `max_steps=1` reached" in out
    left = result("run")
    assert (left["debug"], left["epochs"]) == ("fast", 1)
    assert {"train_loss", "val_loss", "test_loss"} <= left.keys()
    folder = tmp_path / "run"
    assert {file.name for file in (folder / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert len(rows(folder / "metrics.csv")) == 2  # training and validation, then the test
    weights = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert weights["global_step"] == 1


@pytest.mark.long
@pytest.mark.parametrize("experiment", ["modern", "modern_resnet20"])
def test_debug_overfit_drives_the_training_loss_to_zero(run: Run, experiment: str) -> None:
    # With an average of the weights, label smoothing, and augmentation where the preset is not.
    recipe = (f"experiment=cifar10/{experiment}", "dataset=digits", "model.alpha=8", "epochs=25")
    code, _, err = run("train", *recipe, "debug=overfit", "hydra.run.dir=run")
    assert (code, err) == (0, "")
    assert result("run")["train_loss"] < 0.01


def test_debug_overfit_shows_the_same_images_in_every_epoch_whatever_the_seed() -> None:
    data = build.data(composed("debug=overfit").dataset, train=True)
    seen = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        loader = data.train_loader(seed)
        loader.sampler.set_epoch(epoch)
        images = torch.cat([batch for batch, _ in loader])
        seen.append(sorted(images.flatten(1).tolist()))
    assert len(seen[0]) == 256
    assert seen[0] == seen[1] == seen[2]


def test_debug_profile_shows_the_report_of_the_profiler(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("train", *SMALL, "debug=profile", "epochs=1")
    assert code == 0
    assert out.count("FIT Profiler Report") == out.count("TEST Profiler Report") == 1
    assert "run_training_batch" in out
    assert "FIT Profiler Report" in (tmp_path / "run" / "train.log").read_text()


SUMMARY = "+callbacks.summary._target_=pytorch_lightning.callbacks.ModelSummary"
STOPPING = (
    "+callbacks.early._target_=pytorch_lightning.callbacks.EarlyStopping",
    "+callbacks.early.monitor=val_loss",
    "+callbacks.early.patience=1",
    "+callbacks.early.min_delta=9",
    "+callbacks.early.verbose=true",
)


def test_reports_and_stop_reasons_of_lightning_are_shown_and_its_remarks_are_not(
    run: Run, tmp_path: Path
) -> None:
    code, out, err = run("train", *SMALL, "epochs=9", SUMMARY, *STOPPING)
    assert (code, err) == (0, "")
    assert "Total params" in out
    assert "Monitored metric val_loss did not improve in the last 1 records" in out
    assert result("run")["epochs"] == 2
    for remark in ("Tip", "available", "configured so", "max_epochs"):
        assert remark not in out
    assert (tmp_path / "run" / "train.log").read_text().count("Total params") == 1
