"""Signals that tell a run to end, at any moment and more than once."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contnet.training.callbacks.checkpointing import LastCheckpoint
from contnet.training.callbacks.throughput import Throughput
from tests.conftest import Run
from tests.outcomes import LAST, assert_same_end, load
from tests.processes import Command
from tests.runs.small import SMALL

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.fixture
def at_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return `at_batch(epoch, batch, *signals)`, which sends signals after a batch of a run."""
    original = Throughput.on_train_batch_end

    def arrange(epoch: int, batch: int, *numbers: signal.Signals) -> None:
        def then(self: Throughput, trainer: Any, module: Any, *rest: Any) -> None:
            original(self, trainer, module, *rest)
            if (trainer.current_epoch, rest[-1]) == (epoch, batch):
                send(*numbers)

        monkeypatch.setattr(Throughput, "on_train_batch_end", then)

    return arrange


@pytest.mark.parametrize("number", SIGNALS[1:4], ids=lambda number: number.name)
def test_a_signal_saves_the_run_within_the_epoch_then_calls_the_handler_that_was_there(
    run: Run, tmp_path: Path, at_batch: Callable[..., None], number: signal.Signals
) -> None:
    heard: list[tuple[int, int]] = []

    def earlier(received: int, frame: object) -> None:
        heard.append((received, load(tmp_path / "run" / LAST)["global_step"]))
        raise SystemExit(-1)  # as the one of submitit does, once it has asked to be queued again

    signal.signal(number, earlier)
    at_batch(1, 7, number)
    code, _, err = run("train", *SMALL, "hydra.run.dir=run")
    assert code == 75
    assert f"stopped by {number.name} at step 29; to resume: python train.py ckpt" in err
    assert heard == [(number, 21 + 8)]
    (loader,) = load(tmp_path / "run" / LAST)["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert loader["n_batches"] == 8


@pytest.mark.parametrize("second", SIGNALS, ids=lambda number: number.name)
def test_a_second_signal_while_the_run_saves_or_ends_changes_nothing(
    run: Run,
    tmp_path: Path,
    at_batch: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    second: signal.Signals,
) -> None:
    from pytorch_lightning import Trainer

    from contnet.commands import command_line

    save, how = Trainer.save_checkpoint, command_line.how_to_resume

    def disturbed(self: Trainer, *arguments: Any, **options: Any) -> None:
        send(second, second)
        save(self, *arguments, **options)
        send(second)

    def late(*arguments: Any) -> str:
        send(second)
        return how(*arguments)

    monkeypatch.setattr(Trainer, "save_checkpoint", disturbed)
    monkeypatch.setattr(command_line, "how_to_resume", late)
    at_batch(0, 7, signal.SIGTERM)
    code, _, err = run("train", *SMALL, "hydra.run.dir=run")
    assert code == 75
    assert "stopped by SIGTERM at step 8; to resume: " in err
    assert load(tmp_path / "run" / LAST)["global_step"] == 8


@pytest.mark.parametrize("where", ["contnet.commands.build.data", "pytorch_lightning.Trainer.test"])
def test_a_signal_when_there_is_nothing_to_save_ends_the_command_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(where, lambda *arguments, **options: send(signal.SIGHUP))
        code, _, err = run("train", "debug=fast", "model.alpha=1", "hydra.run.dir=run")
    assert code == 75
    assert err.startswith("stopped by SIGHUP; ")
    assert err.count("\n") == 1
    if where.endswith("test"):
        assert run("train", "ckpt_path=last", "hydra.run.dir=run")[0] == 0


def test_a_run_under_nohup_goes_on_when_its_terminal_is_closed(
    run: Run, at_batch: Callable[..., None]
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    at_batch(0, 0, signal.SIGHUP)
    assert run("train", "debug=fast", "model.alpha=1", "hydra.run.dir=run")[0] == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_the_handlers_are_as_before_when_a_run_has_finished(run: Run) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    assert run("train", "debug=fast", "model.alpha=1", "hydra.run.dir=run")[0] == 0
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.long
def test_a_closed_terminal_reaches_the_processes_that_prepare_batches_as_well(
    tmp_path: Path,
) -> None:
    options = (*SMALL, "epochs=2", "dataset.num_workers=2")
    done = Command("tests.drivers.train", *options, "hydra.run.dir=through", folder=tmp_path).wait()
    assert done.returncode == 0, done.stderr
    hangup = "hang_up_at_batch:0:7"
    arguments = ("--fault", hangup, *options, "hydra.run.dir=run")
    stopped = Command("tests.drivers.train", *arguments, folder=tmp_path).wait()
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stderr.startswith("stopped by SIGHUP at step 8; to resume: "), stopped.stderr
    resume = ("ckpt_path=last", "hydra.run.dir=run")
    assert Command("train", *resume, folder=tmp_path).wait().returncode == 0
    assert_same_end(tmp_path / "through", tmp_path / "run")


def test_the_options_are_checked() -> None:
    with pytest.raises(ValueError, match="every_n_minutes must be a number greater than 0, got 0"):
        LastCheckpoint("checkpoints", every_n_minutes=0)
