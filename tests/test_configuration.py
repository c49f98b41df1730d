import inspect
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pytorch_lightning import Trainer
from torch import nn

from contnet import ADAPTIVE_SCHEMES, SCHEMES
from contnet.commands import build
from contnet.commands.precision import on_this_machine
from contnet.data import batches
from contnet.ode.depth_time import depth_time
from contnet.training.lr_schedule import cosine, multistep, onecycle

CONF = Path(__file__).parents[1] / "conf"
GROUPS = (
    "dataset",
    "model",
    "scheme",
    "optimizer",
    "lr_schedule",
    "trainer",
    "callbacks",
    "logger",
)


def composed(*overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", ["run_dir=run", *overrides])


def options() -> list[str]:
    return [
        f"{group}={file.stem}" for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))
    ]


@pytest.mark.parametrize("option", options())
def test_every_option_of_every_group_composes_to_a_valid_configuration(option: str) -> None:
    build.check(composed(option, "++dataset.root=data"))


def test_every_scheme_has_its_option() -> None:
    names = {composed(option).scheme.name for option in options() if option.startswith("scheme=")}
    assert names == {*SCHEMES, *ADAPTIVE_SCHEMES}


def test_the_trainer_group_has_every_key_of_lightnings_trainer() -> None:
    keys = set(inspect.signature(Trainer.__init__).parameters) - {"self", "callbacks", "logger"}
    assert set(composed().trainer) - {"_target_"} == keys


def test_the_defaults_are_the_seeds_recipe() -> None:
    config = composed()
    assert config.epochs == 120
    assert config.dataset.batch_size == 128
    assert config.lr_schedule.milestones == [30, 60, 90]
    assert (config.optimizer.lr, config.optimizer.momentum, config.optimizer.weight_decay) == (
        0.1,
        0.9,
        5e-4,
    )


@pytest.mark.parametrize(
    ("options", "has_gpu", "units", "precision"),
    [
        (["trainer=cpu"], True, {"amx"}, "bf16-mixed"),
        (["trainer=cpu"], True, {"avx512_bf16"}, "bf16-mixed"),
        (["trainer=cpu"], True, {"gpu"}, "32-true"),
        (["trainer=gpu"], True, {"gpu"}, "bf16-mixed"),
        (["trainer=gpu"], True, {"amx"}, "32-true"),
        (["trainer=ddp", "trainer.precision=auto"], True, {"gpu"}, "bf16-mixed"),
        (["trainer=ddp", "trainer.precision=auto"], False, {"amx"}, "bf16-mixed"),
        (["trainer=cpu", "trainer.precision=32-true"], False, {"amx"}, "32-true"),
        (["trainer=default"], True, {"amx", "gpu"}, "32-true"),
    ],
)
def test_precision_follows_the_device(
    options: list[str],
    has_gpu: bool,
    units: set[str],
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: "gpu" in units)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: "amx" in units)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: "avx512_bf16" in units)
    assert on_this_machine(composed(*options)).trainer.precision == precision


@pytest.mark.parametrize("option", ["model=continuous_net", "model=continuous_net_act_first"])
def test_the_network_takes_channels_and_classes_from_the_data_and_the_scheme_from_its_group(
    option: str,
) -> None:
    config = composed(option, "scheme=dopri5", "scheme.rtol=1e-3", "model.initial_time_d=2")
    network = build.network(config, build.data(config, train=False))
    assert network.stem[0].in_channels == 1
    assert (network.num_classes, depth_time(network).n_basis, depth_time(network).scheme.name) == (
        10,
        2,
        "dopri5",
    )
    assert depth_time(network).scheme.rtol == 1e-3


@pytest.mark.parametrize(("limit", "n_steps"), [(None, 11), (5, 5), (99, 11), (0.5, 5)])
def test_a_schedule_by_steps_knows_how_much_of_an_epoch_is_trained_on(
    limit: float | None, n_steps: int
) -> None:
    config = composed(
        "lr_schedule=cosine", "epochs=10", f"trainer.limit_train_batches={limit or 'null'}"
    )
    data = build.data(config, train=True)
    assert len(data.train_loader(0)) == 11
    scheduler = build.classifier(config, build.network(config, data), data).configure_optimizers()[
        "lr_scheduler"
    ]
    assert scheduler["scheduler"].n_steps == 10 * n_steps


@pytest.mark.parametrize("n_processes", [1, 2])
@pytest.mark.parametrize("schedule", ["multistep", "cosine", "onecycle"])
def test_learning_rate_over_a_run(
    schedule: str, n_processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(f"lr_schedule={schedule}", "epochs=100")
    data = build.data(config, train=True)
    classifier = build.classifier(config, build.network(config, data), data)
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


SCHEDULES = {
    "multistep": partial(multistep, milestones=[1, 3], gamma=0.1),
    "cosine": cosine,
    "onecycle": partial(onecycle, pct_start=0.3),
}


@pytest.mark.parametrize("begun", SCHEDULES)
@pytest.mark.parametrize("gone_on", SCHEDULES)
@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "lr", "momentum"), [(4, 10, 0.1, 0.9), (6, 7, 0.02, 0.5)]
)
def test_a_run_that_goes_on_otherwise_has_the_rates_of_a_run_that_was_always_so(
    begun: str, gone_on: str, epochs: int, steps_per_epoch: int, lr: float, momentum: float
) -> None:
    def settings(
        schedule: str, of_epochs: range, length: int, resumed: dict | None, **options: float
    ) -> tuple:
        config = composed(*(f"optimizer.{key}={value}" for key, value in options.items()))
        optimizer = build._optimizer(config)(nn.Linear(1, 1, bias=False))
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


def test_a_target_that_is_not_ours_is_never_called() -> None:
    config = composed()
    OmegaConf.update(
        config, "callbacks.evil", {"_target_": "os.system", "command": "false"}, force_add=True
    )
    data = build.data(config, train=False)
    with pytest.raises(
        build.ConfigError,
        match=r"callbacks.evil._target_ must name something of .*; got 'os.system'",
    ):
        build.trainer(config, build.classifier(config, build.network(config, data), data), data)
