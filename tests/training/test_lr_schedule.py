import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from contnet.commands import build
from contnet.data import batches
from contnet.errors import ConfigError
from contnet.training.lr_schedule import cosine, multistep, onecycle, plateau, wsd
from tests.configuration import composed
from tests.conftest import Run
from tests.outcomes import LAST, assert_same, assert_same_end, load


@pytest.mark.parametrize(("limit", "n_steps"), [(None, 11), (5, 5), (99, 11), (0.5, 5)])
def test_a_schedule_by_steps_knows_how_much_of_an_epoch_is_trained_on(
    limit: float | None, n_steps: int
) -> None:
    config = composed(
        "lr_schedule=cosine", "epochs=10", f"trainer.limit_train_batches={limit or 'null'}"
    )
    data = build.data(config.dataset, train=True)
    assert len(data.train_loader(0)) == 11
    scheduler = build.classifier(
        config, build.network(config.model, data), data
    ).configure_optimizers()["lr_scheduler"]
    assert scheduler["scheduler"].n_steps == 10 * n_steps


@pytest.mark.parametrize("n_processes", [1, 2])
@pytest.mark.parametrize("schedule", ["multistep", "cosine", "onecycle", "wsd"])
def test_learning_rate_over_a_run(
    schedule: str, n_processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(f"lr_schedule={schedule}", "epochs=100")
    data = build.data(config.dataset, train=True)
    classifier = build.classifier(config, build.network(config.model, data), data)
    # There are several processes only after the run is built.
    monkeypatch.setattr(batches, "rank_and_world_size", lambda: (0, n_processes))
    configured = classifier.configure_optimizers()
    optimizer, lr_scheduler = configured["optimizer"], configured["lr_scheduler"]
    steps_per_epoch = len(data.train_loader(0))
    rates = []
    for step in range(100 * steps_per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if lr_scheduler["interval"] == "step" or (step + 1) % steps_per_epoch == 0:
            lr_scheduler["scheduler"].step()
    by_epoch = rates[::steps_per_epoch]
    if schedule == "multistep":
        assert by_epoch[::30] == pytest.approx([0.1, 0.01, 1e-3, 1e-4])
        assert by_epoch[29] == pytest.approx(0.1)
    elif schedule == "cosine":
        assert by_epoch[0] == 0.1
        assert by_epoch[50] == pytest.approx(0.05)
        assert rates[-1] == pytest.approx(0, abs=1e-6)
    elif schedule == "wsd":
        assert rates[0] < 0.1
        assert by_epoch[2:81] == [0.1] * 79
        assert by_epoch[90] == pytest.approx(0.05)
        assert 0 < rates[-1] < 1e-3
    else:
        assert max(by_epoch) == pytest.approx(by_epoch[30], rel=0.01)
        assert max(rates) == pytest.approx(0.1, rel=1e-4)
        assert rates[-1] < 1e-5


def test_multistep_is_that_of_torch() -> None:
    ours, theirs = (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3) for _ in range(2))
    schedulers = (
        multistep(ours, epochs=9, steps_per_epoch=5, milestones=[2, 3, 7], gamma=0.2)["scheduler"],
        torch.optim.lr_scheduler.MultiStepLR(theirs, [2, 3, 7], 0.2),
    )
    for _ in range(9):
        for optimizer, scheduler in zip((ours, theirs), schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)


@pytest.mark.parametrize(("n_steps", "share"), [(7, 0.3), (50, 0.3), (60, 0.25), (3, 0.3)])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_onecycle_is_that_of_torch(
    n_steps: int, share: float, kind: type[torch.optim.Optimizer]
) -> None:
    ours, theirs = (kind([nn.Parameter(torch.zeros(1))], lr=0.3) for _ in range(2))
    schedulers = (
        onecycle(ours, epochs=n_steps, steps_per_epoch=1, pct_start=share)["scheduler"],
        torch.optim.lr_scheduler.OneCycleLR(theirs, 0.3, total_steps=n_steps, pct_start=share),
    )
    for step in range(n_steps):
        groups = [optimizer.param_groups[0] for optimizer in (ours, theirs)]
        assert groups[0]["lr"] == pytest.approx(groups[1]["lr"], rel=1e-9)
        momenta = [group.get("momentum", group.get("betas", [0])[0]) for group in groups]
        assert momenta[0] == pytest.approx(momenta[1], rel=1e-12)
        for optimizer, scheduler in zip((ours, theirs), schedulers, strict=True):
            optimizer.step()
            if step + 1 < n_steps:
                scheduler.step()


def test_onecycle_needs_a_momentum_to_move() -> None:
    optimizer = torch.optim.Adagrad([nn.Parameter(torch.zeros(1))], lr=0.3)
    with pytest.raises(ValueError, match="optimizer with momentum or betas, got Adagrad"):
        onecycle(optimizer, epochs=3, steps_per_epoch=1, pct_start=0.3)


SCHEDULES = {
    "multistep": partial(multistep, milestones=[1, 3], gamma=0.1),
    "cosine": cosine,
    "onecycle": partial(onecycle, pct_start=0.3),
    "wsd": partial(wsd, warmup=0.3, decay=0.4, shape="sqrt"),
}


@pytest.mark.parametrize("begun", SCHEDULES)
@pytest.mark.parametrize("gone_on", SCHEDULES)
@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "lr", "momentum"),
    [pytest.param(4, 10, 0.1, 0.9, marks=pytest.mark.long), (6, 7, 0.02, 0.5)],
)
def test_a_run_that_goes_on_otherwise_has_the_rates_of_a_run_that_was_always_so(
    begun: str, gone_on: str, epochs: int, steps_per_epoch: int, lr: float, momentum: float
) -> None:
    def settings(
        schedule: str, of_epochs: range, length: int, resumed: dict | None, **options: float
    ) -> tuple:
        config = composed(*(f"optimizer.{key}={value}" for key, value in options.items()))
        optimizer = build.optimizer(config.optimizer)(nn.Linear(1, 1, bias=False))
        made = SCHEDULES[schedule](optimizer, epochs=of_epochs.stop, steps_per_epoch=length)
        if resumed is not None:
            optimizer.load_state_dict(resumed["optimizer"])
            made["scheduler"].load_state_dict(resumed["scheduler"])
        found = []
        for _ in of_epochs:
            for step in range(length):
                group = optimizer.param_groups[0]
                found.append((group["lr"], group["momentum"], group["weight_decay"]))
                optimizer.step()
                if made["interval"] == "step" or step + 1 == length:
                    made["scheduler"].step()
        return found, {
            "optimizer": optimizer.state_dict(),
            "scheduler": made["scheduler"].state_dict(),
        }

    _, state = settings(begun, range(2), 10, None, lr=0.1, momentum=0.9, weight_decay=1e-3)
    other = {"lr": lr, "momentum": momentum, "weight_decay": 2e-3}
    went_on, _ = settings(gone_on, range(2, epochs), steps_per_epoch, state, **other)
    always, _ = settings(gone_on, range(epochs), steps_per_epoch, None, **other)
    assert went_on == always[2 * steps_per_epoch :]


@pytest.mark.parametrize(
    ("shape", "falls"),
    [
        ("linear", lambda passed: 1 - passed),
        ("cosine", lambda passed: (1 + math.cos(math.pi * passed)) / 2),
        ("sqrt", lambda passed: 1 - math.sqrt(passed)),
    ],
)
@pytest.mark.parametrize(("warmup", "decay"), [(0.1, 0.4), (0, 0.4), (0.1, 0), (0.5, 0.5)])
def test_wsd_rises_is_stable_and_falls(
    shape: str, falls: Callable[[float], float], warmup: float, decay: float
) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    options = {"warmup": warmup, "decay": decay, "shape": shape}
    scheduler = wsd(optimizer, epochs=10, steps_per_epoch=10, **options)["scheduler"]
    for step in range(100):
        rising = min(1, (step + 1) / (100 * warmup)) if warmup else 1
        falling = falls((step / 100 - 1 + decay) / decay) if step > 100 * (1 - decay) else 1
        rate = optimizer.param_groups[0]["lr"]
        assert rate == pytest.approx(0.3 * min(rising, falling), abs=1e-12), step
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 0.6, "decay": 0.5}, "warmup and decay must add up to at most 1, got 0.6 + 0.5"),
        ({"warmup": -0.1}, "warmup must be a number at least 0 and less than 1, got -0.1"),
        ({"decay": 1}, "decay must be a number at least 0 and less than 1, got 1"),
        ({"shape": "root"}, "shape must be one of linear, cosine, sqrt; got 'root'"),
    ],
)
def test_a_wsd_that_cannot_be_is_named(options: dict[str, Any], message: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    allowed = {"warmup": 0.1, "decay": 0.2, "shape": "linear"}
    with pytest.raises(ValueError, match=re.escape(message)):
        wsd(optimizer, epochs=3, steps_per_epoch=1, **{**allowed, **options})


@pytest.mark.parametrize(
    "decay",
    [pytest.param(0.5, marks=pytest.mark.long), 0.4],
    ids=["at the end of an epoch", "within an epoch"],
)
def test_a_run_is_prolonged_from_its_stable_part_to_the_end_of_one_that_was_always_longer(
    run: Run, tmp_path: Path, decay: float
) -> None:
    options = ("model.alpha=2", "trainer.limit_train_batches=5", "lr_schedule=wsd")
    options += ("lr_schedule.warmup=0", f"lr_schedule.decay={decay}", "callbacks=ema")
    # One window, in steps, and so one share for each length of the run.
    longer = ("epochs=4", "callbacks.ema.window=0.2")
    assert run("train", *options, *longer, "hydra.run.dir=longer")[0] == 0
    shorter = ("epochs=2", "callbacks.ema.window=0.4")
    assert run("train", *options, *shorter, "hydra.run.dir=shorter")[0] == 0
    assert load("shorter/checkpoints/stable.ckpt")["global_step"] == round(10 * (1 - decay))
    prolonged = ("ckpt_path=shorter/checkpoints/stable.ckpt", *longer, "hydra.run.dir=prolonged")
    assert run("train", *options, *prolonged)[0] == 0
    ends = [load(tmp_path / name / LAST) for name in ("longer", "prolonged")]
    for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers"):
        assert_same(ends[0][key], ends[1][key], key)


def test_a_schedule_that_never_falls_leaves_no_stable_checkpoint(run: Run, tmp_path: Path) -> None:
    options = ("model.alpha=2", "trainer.limit_train_batches=2", "epochs=2", "hydra.run.dir=run")
    assert run("train", *options, "lr_schedule=wsd", "lr_schedule.decay=0")[0] == 0
    assert not (tmp_path / "run/checkpoints/stable.ckpt").exists()


METRICS = (2.0, 1.5, 1.6, 1.5, 1.4, 1.39999, 1.7, 1.3, 1.5, 1.5, 1.5)


def test_plateau_is_that_of_torch_also_when_it_goes_on_from_a_checkpoint() -> None:
    def rates(resume_at: int | None) -> list[float]:
        def ours():
            optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
            options = {"factor": 0.3, "patience": 1, "monitor": "val_loss"}
            return optimizer, plateau(optimizer, epochs=9, steps_per_epoch=5, **options)[
                "scheduler"
            ]

        optimizer, scheduler = ours()
        found = []
        for epoch, metric in enumerate(METRICS):
            if epoch == resume_at:
                state = scheduler.state_dict()
                optimizer, scheduler = ours()
                scheduler.load_state_dict(state)
            scheduler.step(metric)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=1)
    expected = []
    for metric in METRICS:
        theirs.step(metric)
        expected.append(optimizer.param_groups[0]["lr"])
    assert len(set(expected)) == 4
    for resume_at in (None, 4, 7, 9):
        assert rates(resume_at) == expected


TORCH = "torch.optim.lr_scheduler"
PLATEAU = ("lr_schedule=plateau", "lr_schedule.patience=0", "lr_schedule.factor=0.5")
WITHOUT = ("~lr_schedule.milestones", "~lr_schedule.gamma")
OWN_PLATEAU = (f"lr_schedule._target_={TORCH}.ReduceLROnPlateau", "+lr_schedule.patience=0")
STEPS = (f"lr_schedule._target_={TORCH}.StepLR", "~lr_schedule.milestones", "lr_schedule.gamma=0.5")


@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        ((*PLATEAU, "lr_schedule.monitor=train_accuracy"), 0.1 * 0.5**2),
        pytest.param(
            (*OWN_PLATEAU, *WITHOUT, "+lr_schedule.mode=max"), 0.1 * 0.1**2, marks=pytest.mark.long
        ),
        pytest.param((*STEPS, "+lr_schedule.step_size=1"), 0.1 * 0.5**5, marks=pytest.mark.long),
    ],
    ids=["plateau", "torch's plateau", "torch's steps"],
)
def test_a_schedule_that_keeps_its_own_rate_is_resumed_to_the_same_end(
    run: Run, tmp_path: Path, schedule: tuple[str, ...], rate: float
) -> None:
    options = ("model.alpha=2", "trainer.limit_train_batches=2", *schedule)
    assert run("train", *options, "epochs=5", "hydra.run.dir=through")[0] == 0
    assert run("train", *options, "epochs=3", "hydra.run.dir=run")[0] == 0
    # A class that a run has recorded is used again only if the user types it again.
    typed = [override for override in schedule if "_target_" in override]
    assert run("train", "ckpt_path=last", "epochs=5", "hydra.run.dir=run", *typed)[0] == 0
    assert_same_end(tmp_path / "through", tmp_path / "run")
    group = load(tmp_path / "run" / LAST)["optimizer_states"][0]["param_groups"][0]
    assert group["lr"] == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [*PLATEAU, "dataset.val_size=0"],
            "lr_schedule.monitor must be train_loss or train_accuracy without validation images, "
            "got val_loss",
        ),
        (
            [*PLATEAU, "lr_schedule.monitor=loss"],
            "lr_schedule.monitor must be one of val_loss, val_accuracy, train_loss, train_accuracy",
        ),
        ([*PLATEAU, "lr_schedule.factor=1"], "lr_schedule.factor must be a number greater than 0"),
        (
            ["lr_schedule._target_=builtins.repr", *WITHOUT],
            "lr_schedule._target_ must make a learning-rate scheduler of PyTorch, or a dictionary "
            "with one as scheduler; builtins.repr made an object of type str",
        ),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_named(
    run: Run, tmp_path: Path, overrides: list[str], message: str
) -> None:
    code, _, err = run("train", "epochs=1", "model.alpha=2", "hydra.run.dir=run", *overrides)
    assert code == 1
    assert err.startswith(f"error: {message}"), err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_bare_plateau_follows_the_training_loss_without_validation_images() -> None:
    for val_size, monitor in ((0, "train_loss"), (0.1, "val_loss")):
        config = composed(*OWN_PLATEAU, *WITHOUT, f"dataset.val_size={val_size}")
        data = build.data(config.dataset, train=True)
        made = build.classifier(config, build.network(config.model, data), data)
        assert made.configure_optimizers()["lr_scheduler"]["monitor"] == monitor


def test_a_schedule_of_contnet_does_not_go_on_from_another_ones_state() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    state = torch.optim.lr_scheduler.StepLR(optimizer, 2).state_dict()
    with pytest.raises(ConfigError, match="lr_schedule must be the one of the run of ckpt_path"):
        cosine(optimizer, epochs=2, steps_per_epoch=1)["scheduler"].load_state_dict(state)
