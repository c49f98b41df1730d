"""How a run is resumed: which one, with what settings, and to the same end."""

import csv
import json
import re
import shlex
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch
from omegaconf import OmegaConf

from tests.conftest import Run
from tests.outcomes import LAST, assert_same, metrics, result


def test_the_newest_run_is_continued_with_its_overrides(run: Run, tmp_path: Path) -> None:
    for folder, epochs in (("2026-01-01/00-00-01", 2), ("2026-01-01/00-00-02", 1)):
        assert (
            run(
                "train",
                "model.alpha=2",
                f"epochs={epochs}",
                f"hydra.run.dir=outputs/train/{folder}",
            )[0]
            == 0
        )
    code, _, err = run("train", "ckpt_path=last", "epochs=3")
    assert (code, err) == (0, "")
    result = json.loads((tmp_path / "outputs/train/2026-01-01/00-00-02/result.json").read_text())
    assert (result["epochs"], result["parameters"]) == (3, 2988)
    assert sorted(path.name for path in (tmp_path / "outputs/train/2026-01-01").iterdir()) == [
        "00-00-01",
        "00-00-02",
    ]
    with (tmp_path / "outputs/train/2026-01-01/00-00-02/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]


def test_there_is_nothing_to_continue(run: Run, tmp_path: Path) -> None:
    code, _, err = run("train", "ckpt_path=last")
    assert (code, err.count("\n")) == (1, 1)
    assert "ckpt_path=last finds no checkpoints/last.ckpt in any folder of outputs/train" in err
    code, _, err = run("train", "ckpt_path=last", "hydra.run.dir=run")
    assert (code, err) == (1, "error: ckpt_path=last finds no checkpoints/last.ckpt in run\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "given"),
    [("my run", "'my run'"), pytest.param("Ada's", '"Ada\'s"', marks=pytest.mark.long)],
)
def test_a_folder_in_quotes_is_the_same_folder(
    name: str, given: str, run: Run, tmp_path: Path
) -> None:
    assert run("train", "epochs=1", "model.alpha=2", f"hydra.run.dir={given}")[0] == 0
    code, _, err = run("train", "epochs=2", f"hydra.run.dir={given}")
    assert (code, err.count("\n")) == (1, 1)
    assert f"hydra.run.dir must be another folder than {name!r}, which holds a run;" in err
    told = re.search(r"; python train.py (.*) continues that one\n", err)
    assert told is not None
    assert run("train", *shlex.split(told[1]), "epochs=2")[0] == 0
    assert json.loads((tmp_path / name / "result.json").read_text())["epochs"] == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]
    # The newest in outputs/train, with the word in quotes.
    (tmp_path / "outputs/train/today").mkdir(parents=True)
    (tmp_path / name).rename(tmp_path / "outputs/train/today" / name)
    assert run("train", "ckpt_path='last'", "epochs=3")[0] == 0
    assert (
        json.loads((tmp_path / "outputs/train/today" / name / "result.json").read_text())["epochs"]
        == 3
    )


@pytest.mark.long
def test_another_option_of_a_group_drops_what_the_run_changed_of_it(
    run: Run, tmp_path: Path
) -> None:
    changed = (
        "callbacks=ema",
        "callbacks.ema.window=0.5",
        "optimizer.lr=0.01",
        "dataset.batch_size=64",
    )
    assert run("train", "epochs=1", "model.alpha=2", *changed, "hydra.run.dir=run")[0] == 0
    resume = ("train", "ckpt_path=last", "hydra.run.dir=run")

    def now(key: str) -> object:
        return OmegaConf.select(OmegaConf.load(tmp_path / "run/.hydra/config.yaml"), key)

    # The option that the run has, chosen or by default, is no other.
    assert run(*resume, "epochs=2", "callbacks=ema", "dataset=digits") == (0, ANY, "")
    assert (now("callbacks.ema.window"), now("dataset.batch_size")) == (0.5, 64)
    with pytest.warns(UserWarning, match="add the following callbacks: .'ExponentialAverage'"):
        assert run(*resume, "epochs=3", "callbacks=default")[0] == 0
    assert (now("callbacks.ema"), now("optimizer.lr")) == (None, 0.01)
    for shown in (
        (*resume, "seed=3", "--cfg", "job"),
        ("train", "--cfg", "job", *resume[1:], "seed=3"),
    ):
        out = run(*shown)[1]
        assert ("lr: 0.01\n" in out, "seed: 3\n" in out) == (True, True)


def test_a_run_goes_on_with_the_optimizer_settings_that_are_typed(run: Run, trained: Path) -> None:
    typed = ("optimizer.lr=0.01", "optimizer.weight_decay=0.25", "lr_schedule.milestones=[2]")
    assert run("train", "ckpt_path=last", "hydra.run.dir=run", "epochs=3", *typed)[0] == 0
    rates = [float(row["lr"]) for row in metrics(trained, ["lr"])]
    assert rates == pytest.approx([0.1, 0.001, 0.001])
    (group,) = torch.load(trained / LAST, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert (group["initial_lr"], group["weight_decay"]) == (0.01, 0.25)


@pytest.mark.parametrize("val_size", [pytest.param(0, marks=pytest.mark.long), 0.1])
@pytest.mark.parametrize("milestone", [2, pytest.param(3, marks=pytest.mark.long)])
def test_a_resumed_run_ends_as_the_one_that_was_never_stopped_to_the_last_bit(
    run: Run, val_size: float, milestone: int
) -> None:
    options = (
        "model.alpha=2",
        f"lr_schedule.milestones=[{milestone}]",
        "seed=3",
        f"dataset.val_size={val_size}",
    )
    assert run("train", *options, "epochs=4", "hydra.run.dir=through")[0] == 0
    assert run("train", *options, "epochs=2", "hydra.run.dir=stopped")[0] == 0
    resume = "ckpt_path=stopped/checkpoints/last.ckpt"
    assert run("train", *options, "epochs=4", resume, "hydra.run.dir=resumed")[0] == 0
    through, resumed = (
        torch.load(f"{name}/checkpoints/last.ckpt", weights_only=True)
        for name in ("through", "resumed")
    )
    for name, value in through["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    momenta = [c["optimizer_states"][0]["state"] for c in (through, resumed)]
    for i, state in momenta[0].items():
        assert torch.equal(state["momentum_buffer"], momenta[1][i]["momentum_buffer"])
    assert through["lr_schedulers"] == resumed["lr_schedulers"]
    assert result("through")["test_loss"] == result("resumed")["test_loss"]


def test_a_run_is_not_resumed_with_another_network_or_from_beyond_its_end(
    run: Run, tmp_path: Path
) -> None:
    assert run("train", "epochs=2", "model.alpha=2", "hydra.run.dir=run")[0] == 0
    for overrides, message in (
        (
            ["model.alpha=3"],
            "ckpt_path must be a checkpoint of the network that model and dataset describe; "
            "size mis",
        ),
        (
            ["model.alpha=2", "epochs=1"],
            "epochs must be at least 2, the epochs that ckpt_path has done, got 1",
        ),
    ):
        code, _, err = run("train", *overrides, "ckpt_path=run/checkpoints/last.ckpt")
        assert (code, err.count("\n")) == (1, 1)
        assert message in err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.long
@pytest.mark.parametrize("basis", ["piecewise_linear", "continuous_linear", "legendre"])
def test_a_run_in_any_basis_refines_and_goes_on_bit_for_bit(run: Run, basis: str) -> None:
    options = (
        "model.alpha=4",
        "refine.epochs=[1]",
        f"model.basis={basis}",
        "model.initial_time_d=2",
    )
    options += ("optimizer.lr=0.02", "lr_schedule.milestones=[2]")
    assert run("train", *options, "epochs=3", "hydra.run.dir=whole")[0] == 0
    assert run("train", *options, "epochs=2", "hydra.run.dir=begun")[0] == 0
    code, out, _ = run(
        "train", *options, "epochs=3", "ckpt_path=begun/checkpoints/last.ckpt", "hydra.run.dir=rest"
    )
    assert (code, "refined" in out) == (0, False)
    whole, rest = (
        torch.load(f"{name}/checkpoints/last.ckpt", weights_only=True) for name in ("whole", "rest")
    )
    assert whole["contnet"]["depth"][0]["n_basis"] == {"continuous_linear": 3}.get(basis, 4)
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(whole[key], rest[key], key)


def test_a_run_refines_once_for_each_epoch_of_the_schedule_however_it_is_resumed(
    run: Run,
) -> None:
    options = ("model.alpha=2", "ckpt_path=last", "hydra.run.dir=run")
    assert (
        run("train", "model.alpha=2", "epochs=2", "refine.epochs=[1]", "hydra.run.dir=run")[0] == 0
    )
    for epochs, schedule in ((3, "[]"), (4, "[1]")):
        code, out, _ = run("train", *options, f"epochs={epochs}", f"refine.epochs={schedule}")
        assert (code, "refined" in out) == (0, False)
    assert json.loads(Path("run/result.json").read_text())["n_basis"] == 2


def test_a_refined_run_goes_on_with_other_steps_but_in_no_other_basis(run: Run) -> None:
    go_on = ("ckpt_path=last", "hydra.run.dir=run", "epochs=3")
    assert (
        run("train", "model.alpha=2", "epochs=2", "refine.epochs=[1]", "hydra.run.dir=run")[0] == 0
    )
    code, _, err = run("train", *go_on, "model.basis=legendre")
    assert (code, err.count("\n")) == (1, 1)
    assert (
        "model.basis must be piecewise_constant, as in the run of ckpt_path, got legendre; " in err
    )
    assert run("train", *go_on, "scheme.n_time_steps_per=2")[0] == 0
    result = json.loads(Path("run/result.json").read_text())
    assert (result["basis"], result["n_basis"], result["n_time_steps"]) == (
        "piecewise_constant",
        2,
        4,
    )
