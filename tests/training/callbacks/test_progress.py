"""Progress on a terminal: lines that stay, and below them a bar that goes."""

import io
import logging
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from contnet.training.callbacks.bar import folded
from contnet.training.callbacks.pace import Pace, duration
from contnet.training.callbacks.progress import EpochBar, EpochLines, progress

CODE = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen(io.StringIO):
    """A terminal: what is written to it, as lines."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        rows, at = [""], 0
        for number, code, control, text in CODE.findall(self.getvalue()):
            if control == "\n":
                at += 1
                rows += [""] * (at >= len(rows))
            elif code == "A":
                at -= int(number or 1)
            elif code == "K":
                rows[at] = ""
            elif text:
                rows[at] += text
            if control == "\r" and rows[at].strip():
                self.widest = max(self.widest, len(rows[at]))
        return [row for row in map(str.strip, rows) if row]

    widest = 0


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """Yield a terminal of 80 columns, to which a handler logs as Hydra's does."""
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    made = Screen()
    handler = logging.StreamHandler(made)
    root = logging.getLogger()
    stale = logging.StreamHandler(io.StringIO())  # as an earlier program may have left it
    stale.stream.close()
    stale.setLevel(logging.CRITICAL)
    monkeypatch.setattr(root, "handlers", [handler, stale])
    monkeypatch.setattr(root, "level", logging.INFO)
    yield made
    assert handler.stream is made


class Talk(Callback):
    """Logs and prints within epochs, and fails if it is told to."""

    def __init__(self, failure: type[BaseException] | None = None) -> None:
        self.failure = failure

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        logging.getLogger("talk").info("a logged remark")
        print("a printed one")
        if self.failure is not None:
            raise self.failure("stop")


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.layer(batch[0]).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(screen: Screen, *callbacks: Callback) -> None:
    inputs = torch.ones(4, 32)
    loader: Any = DataLoader([(inputs, inputs[:, 0])] * 3, batch_size=None)  # type: ignore
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
    )
    with redirect_stdout(screen):
        trainer.fit(Model(), loader, loader)


@pytest.mark.filterwarnings("ignore")  # remarks of Lightning
def test_the_lines_of_epochs_stay_and_the_bar_goes(screen: Screen) -> None:
    fit(screen, EpochBar(), Talk())
    lines = screen.lines()
    kept = [line for line in lines if line.startswith("epoch")]
    assert kept == ["epoch 1/2", "epoch 2/2"]
    assert lines.count("a logged remark") == lines.count("a printed one") == 6
    assert "━" not in "".join(lines)
    assert screen.widest <= 80 - len("^C")
    shown = screen.getvalue()
    assert re.search(r"epoch 2/2 .*━.* 2/3 · [\d,]+ images/s · 0 s left", CODE.sub(r"\4", shown))
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_bar_goes_when_a_training_fails(screen: Screen, failure: type[BaseException]) -> None:
    with pytest.raises((RuntimeError, SystemExit)):
        fit(screen, EpochBar(), Talk(failure))
    lines = screen.lines()
    assert "a logged remark" in lines
    assert "━" not in "".join(lines)
    shown = screen.getvalue()
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back


def test_only_the_first_process_has_a_bar(screen: Screen) -> None:
    bar = EpochBar()
    other: Any = SimpleNamespace(is_global_zero=False)
    bar.setup(other, LightningModule(), "fit")
    with redirect_stdout(screen):
        bar.on_train_start(other, LightningModule())
    assert screen.getvalue() == ""


@pytest.mark.parametrize(("bar", "kind"), [(True, EpochBar), (False, EpochLines)])
def test_a_terminal_has_a_bar_unless_it_is_turned_off(
    screen: Screen, bar: bool, kind: type
) -> None:
    with redirect_stdout(screen):
        assert type(progress(bar)) is kind


def test_jobs_side_by_side_have_no_bars(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = SimpleNamespace(name="LokyProcess-1")
    monkeypatch.setattr("contnet.training.callbacks.progress.current_process", lambda: worker)
    with redirect_stdout(screen):
        assert type(progress(True)) is EpochLines


def test_without_a_terminal_there_are_lines_alone() -> None:
    assert type(progress(True)) is EpochLines


def test_a_line_of_figures_is_broken_between_them() -> None:
    line = "epoch 1/3  train_loss 1.8130  val_accuracy 0.2797  lr 0.1  2307 images/s"
    assert folded(line, 40) == (
        "epoch 1/3  train_loss 1.8130\n  val_accuracy 0.2797  lr 0.1\n  2307 images/s"
    )
    assert folded("plain words without figures", 12) == "plain words\n  without\n  figures"


def test_the_time_left_leaves_out_the_first_batch_and_follows_a_change_of_pace() -> None:
    time = [0.0]
    pace = Pace(lambda: time[0])
    seconds_left = []
    for seconds in (1.0, 1.0, 4.0, 4.0):  # of a batch, in each epoch
        pace.begin_epoch()
        for batch in range(10):
            time[0] += 60.0 if not seconds_left and batch == 0 else seconds
            pace.add_batch(128)
        seconds_left.append(pace.seconds_left(10))
    assert seconds_left == [10.0, 10.0, 25.0, 40.0]
    assert pace.told(10) == ["32 images/s", "40 s left"]
    assert Pace().told(10) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.184, "2.18 s"), (59.96, "1 min 0 s"), (312.4, "5 min 12 s"), (7470, "2 h 4 min")],
)
def test_a_time_is_rounded_sensibly(seconds: float, text: str) -> None:
    assert duration(seconds) == text
