"""Data sets in a Python file beside the command: trained, resumed, shared and evaluated."""

from pathlib import Path

import pytest

from contnet.runs.checkpoint import Record
from tests.conftest import Run
from tests.outcomes import LAST, assert_same, load, result, rows
from tests.processes import train

DATA = '''
import random

import torch
from torch.utils.data import Dataset

from contnet.data import digits


class Noisy(Dataset):
    """Three classes of brightness, shifted at random."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        image = i % 3 + 0.2 * torch.randn(1, 8, 8) + random.random()
        return image, torch.tensor(i % 3)


class Noise:
    def __init__(self, n=90):
        self.train, self.val, self.test = Noisy(n), Noisy(20), Noisy(30)
        self.classes = ("a", "b", "c")


def small_digits(batch_size, **options):
    return digits(batch_size=2 * batch_size, mean=[0.3], std=[0.4], **options)


def alone(path):
    return Noisy(3)


def broken():
    raise OSError("the disk is gone")


def growing():
    sizes = {**vars(Noise())}
    sizes["test"] = [(torch.zeros(1, 8, 8), 0), (torch.zeros(1, 9, 9), 1)]
    return sizes


def unreadable():
    class Unreadable(Noisy):
        def __getitem__(self, i):
            raise KeyError("cat.png")

    return {"train": Unreadable(30), "test": Noisy(3)}


def many():
    return {"train": Noisy(30), "test": [(torch.zeros(1, 8, 8), 7)]}
'''

NOISE = ("dataset=own", "dataset._target_=mydata.Noise", "model.alpha=2", "dataset.batch_size=16")


@pytest.fixture(autouse=True)
def _data(tmp_path: Path) -> None:
    (tmp_path / "mydata.py").write_text(DATA)


def test_random_transforms_are_resumed_bit_for_bit_whatever_the_workers(run: Run) -> None:
    options = (*NOISE, "optimizer.lr=0.01")
    assert run("train", *options, "epochs=2", "hydra.run.dir=through")[0] == 0
    assert run("train", *options, "epochs=1", "hydra.run.dir=stopped")[0] == 0
    resume = ("ckpt_path=stopped/checkpoints/last.ckpt", "hydra.run.dir=resumed")
    workers = ("dataset.num_workers=2", "trust=[mydata]")
    code, _, err = run("train", *options, "epochs=2", *resume, *workers)
    assert (code, err) == (0, "")
    through, resumed = (load(Path(name, LAST)) for name in ("through", "resumed"))
    for key in ("state_dict", "optimizer_states"):
        assert_same(through[key], resumed[key], key)
    assert Record.of(through).classes == ("a", "b", "c")


@pytest.mark.long
def test_two_processes_share_the_images_of_an_own_data_set(tmp_path: Path) -> None:
    options = (*NOISE, "epochs=1", "optimizer.lr=0.01", "model.batch_norm=false")
    shared = ("trainer.strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    assert train(*options, "hydra.run.dir=one", folder=tmp_path).returncode == 0
    done = train(*options, "hydra.run.dir=two", "dataset.batch_size=8", *shared, folder=tmp_path)
    assert done.returncode == 0, done
    losses = [result(tmp_path / name)["train_loss"] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.long
def test_an_own_data_set_is_evaluated_and_recalibrated_on(run: Run) -> None:
    assert run("train", *NOISE, "epochs=1", "hydra.run.dir=run")[0] == 0
    sweep = ("sweep.scheme=[euler,rk4]", "sweep.recalibrate=true", "trust=[mydata]")
    code, _, err = run("evaluate", "ckpt_path=run", *sweep, "hydra.run.dir=study")
    assert (code, err) == (0, "")
    table = rows("study/invariance.csv")
    assert float(table[0]["loss"]) == result("run")["test_loss"]
    assert {row["recalibrated"] for row in table} == {"True", "False"}


def test_a_function_that_returns_image_data_takes_the_keys_that_it_names(run: Run) -> None:
    options = ("dataset=own", "dataset._target_=mydata.small_digits", "dataset.val_size=0")
    small = ("model.alpha=2", "epochs=1", "hydra.run.dir=run", "dataset.batch_size=100")
    code, _, err = run("train", *options, *small)
    assert (code, err) == (0, "")
    assert load(Path("run", LAST))["global_step"] == 8  # 1,438 images in batches of 200


@pytest.mark.parametrize(
    ("target", "more", "message"),
    [
        (
            "mydata.alone",
            ["+dataset.path=x"],
            "dataset._target_ must make contnet.data.ImageData, or torch.utils.data.Datasets of "
            "(image, label) as train, test and perhaps val, in a dictionary or as attributes; "
            "mydata.alone made an object of type Noisy with no train",
        ),
        ("mydata.alone", [], "dataset.path must be given; mydata.alone needs it"),
        ("mydata.broken", [], "dataset: mydata.broken cannot be used; OSError: the disk is gone;"),
        (
            "mydata.unreadable",
            [],
            "dataset: train[0] of Unreadable fails; KeyError: 'cat.png'",
        ),
        ("mydata.Absent", [], "dataset._target_ must name something that can be imported; mydata."),
        ("mydata.Noise", ["+dataset.size=3"], "dataset.size is not an option of Noise; "),
        ("mydata.Noise", ["~dataset.val_size"], "dataset.val_size must be given; the line"),
        ("mydata.Noise", ["dataset.batch_size=0"], "dataset.batch_size must be a whole number of"),
        (
            "mydata.growing",
            ["epochs=1"],
            "dataset: images must have one shape; train[0] has (1, 8, 8), test[1] has (1, 9, 9)",
        ),
        (
            "mydata.many",
            ["epochs=1", "dataset.val_size=0"],
            "dataset: labels must be whole numbers from 0 to 2; test[0] has 7",
        ),
    ],
)
def test_own_data_that_cannot_be_used_are_one_line(
    run: Run, target: str, more: list[str], message: str
) -> None:
    options = ("dataset=own", f"dataset._target_={target}", "model.alpha=2")
    code, _, err = run("train", *options, *more)
    assert (code, err.count("\n")) == (1, 1), err
    assert f"error: {message}" in err


def test_an_own_data_set_must_be_named(run: Run) -> None:
    code, out, err = run("train", "dataset=own")
    assert (code, out) == (1, "")
    assert err == (
        "error: dataset._target_ must be given, as dataset._target_=package.module.Name\n"
    )
    assert not Path("outputs").exists()
