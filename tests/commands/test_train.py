from pathlib import Path

import pytest

from tests.conftest import Run
from tests.outcomes import result, rows

FAST = ("epochs=1", "model.alpha=2", "hydra.run.dir=run")


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.precision=64-true"],
        ["trainer.precision=bf16-true"],
        ["trainer.fast_dev_run=true"],
        ["trainer.max_steps=3", "dataset.val_size=0"],
        ["trainer.limit_train_batches=2", "trainer.accumulate_grad_batches=2"],
        ["trainer.enable_progress_bar=false"],
        ["optimizer=adamw", "lr_schedule=cosine"],
        ["~logger"],
        ["~callbacks"],
        ["~callbacks.best"],
        ["dataset.num_workers=1"],
        ["callbacks=ema", "dataset.val_size=0"],
        ["optimizer.decay_norm_and_bias=false", "label_smoothing=0.1"],
        ["model=resnet", "model.depth=8"],
        ["model=wide_resnet", "model.depth=10", "model.widen_factor=2", "model.dropout=0.1"],
        ["model=wide_continuous_net", "model.widen_factor=2"],
        [
            "model=continuous_net_act_first",
            "model.use_skipinit=true",
            "model.batch_norm=false",
            "model.stitch=false",
        ],
    ],
    ids=" ".join,
)
def test_settings_of_lightnings_and_groups_left_out_work(run: Run, overrides: list[str]) -> None:
    code, _, err = run("train", *FAST, *overrides)
    assert (code, err) == (0, "")
    assert 0 <= result("run")["test_accuracy"] <= 1


def test_a_run_leaves_what_the_design_says(run: Run, tmp_path: Path) -> None:
    code, _, err = run("train", *FAST, "lr_schedule=onecycle")
    assert (code, err) == (0, "")
    folder = tmp_path / "run"
    for name in (
        ".hydra/config.yaml",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "metrics.csv",
    ):
        assert (folder / name).is_file(), name
    [shown] = (folder / "tensorboard").iterdir()
    assert shown.name == "epochs=1,model.alpha=2,lr_schedule=onecycle"
    assert list(shown.glob("events*"))
    expected = {
        "test_accuracy",
        "test_loss",
        "parameters",
        "train_seconds",
        "images_per_second",
        "dataset",
        "model",
    }
    expected |= {"scheme", "n_time_steps", "seed", "machine", "versions", "git_commit"}
    expected |= {"n_f_evals", "precision", "test_digest", "started", "finished"}
    expected |= {"train_images", "val_images", "test_images"}
    assert expected <= result(folder).keys()
    logged = {key for row in rows(folder / "metrics.csv") for key in row}
    assert {
        "train_loss",
        "train_accuracy",
        "val_accuracy",
        "lr",
        "images_per_second",
        "parameters",
        "depth",
    } <= logged


def test_without_validation_images_nothing_is_selected(run: Run, tmp_path: Path) -> None:
    assert run("train", *FAST, "dataset.val_size=0")[0] == 0
    assert [file.name for file in (tmp_path / "run" / "checkpoints").iterdir()] == ["last.ckpt"]
