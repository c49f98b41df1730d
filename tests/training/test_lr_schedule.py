from functools import partial

import pytest
import torch
from torch import nn

from contnet.commands import build
from contnet.data import batches
from contnet.training.lr_schedule import cosine, multistep, onecycle
from tests.configuration import composed


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
@pytest.mark.parametrize("schedule", ["multistep", "cosine", "onecycle"])
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
