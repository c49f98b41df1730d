"""Pictures in TensorBoard: what they show, and that a training is the same with them."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from torch import Tensor, nn

from contnet import ODEBlock, drawing
from contnet.training.callbacks import pictures
from contnet.training.callbacks.pictures import ConfusionMatrix, StateNorms, TrainingImages
from tests.networks.two_blocks import TwoBlocks
from tests.outcomes import assert_same
from tests.training.callbacks.small import CLASSES, batches, fit, loader, shown

pytestmark = pytest.mark.filterwarnings("ignore")  # remarks of Lightning


class Random(nn.Module):
    """Draws random numbers in every mode, from every generator."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x) + random.random() + np.random.rand()


class Odd(TwoBlocks):
    """Two blocks, one of them in evaluation mode for ever, and random numbers."""

    def __init__(self) -> None:
        super().__init__(1, 3, n_basis=2)
        self.stem = nn.Sequential(self.stem, Random())  # type: ignore[assignment]

    def train(self, mode: bool = True) -> "Odd":
        super().train(mode)
        self.wide.eval()
        return self


def all_pictures() -> list[Callback]:
    return [TrainingImages(), ConfusionMatrix(), StateNorms(every_n_epochs=1)]


def ends(folder: Path, *callbacks: Callback, **options: Any) -> list[Any]:
    """Train, and return all that later steps would depend on."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    network = Odd()
    fit(network, folder, *callbacks, **options)
    return [
        network.state_dict(),
        [part.training for part in network.modules()],
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[index]
    ]


@pytest.mark.parametrize(
    "options",
    [{}, {"validates": False}, {"limit_val_batches": 0}],
    ids=["validation", "no images for it", "it is turned off"],
)
def test_a_training_with_pictures_is_the_one_without_to_the_last_bit(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    plain = ends(tmp_path / "plain", **options)
    assert_same(ends(tmp_path / "drawn", *all_pictures(), **options), plain, "end")
    events = shown(tmp_path / "drawn")
    assert [image.step for image in events.Images("images/train")] == [0]
    assert [image.step for image in events.Images("network/states")] == [4, 8]


def test_a_picture_that_fails_is_told_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise RuntimeError("no\npaint")

    for name in ("grid", "confusion", "curves"):
        monkeypatch.setattr(drawing, name, fail)
    network = TwoBlocks(1, 3)
    trainer = fit(network, tmp_path, *all_pictures())
    trainer.test(trainer.lightning_module, loader(), verbose=False)
    assert trainer.current_epoch == 2
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == [
        f"no picture {name} in TensorBoard: no paint"
        for name in ("images/train", "network/states", "test/confusion")
    ]
    assert not any(block._forward_pre_hooks for block in (network.narrow, network.wide))


def test_without_tensorboard_nothing_is_drawn_or_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grid", "confusion", "curves"):
        monkeypatch.setattr(drawing, name, lambda *args: pytest.fail("drawn"))
    monkeypatch.setattr(ODEBlock, "trajectory", lambda *args: pytest.fail("computed"))
    trainer = fit(TwoBlocks(1, 3), tmp_path, *all_pictures(), logger=[])
    trainer.test(trainer.lightning_module, loader(), verbose=False)


def test_the_fixed_batch_is_one_of_validation_images_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    monkeypatch.setattr(pictures, "_states", lambda *args: seen.append(args[2]))
    for validates in (True, False):
        fit(TwoBlocks(1, 3), tmp_path, StateNorms(every_n_epochs=1), validates=validates)
    firsts = [batches()[i][0] for i in (2, 2, 0, 0)]
    assert all(torch.equal(*pair) for pair in zip(seen, firsts, strict=True))


def test_a_network_without_blocks_has_no_picture_of_states(tmp_path: Path) -> None:
    fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), tmp_path, *all_pictures())
    assert shown(tmp_path).Tags()["images"] == ["images/train"]


def test_the_confusion_matrix_counts_the_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        drawing, "confusion", lambda *args: drawn.append(args) or np.zeros((4, 4, 3), np.uint8)
    )
    trainer = fit(TwoBlocks(1, 3), tmp_path, ConfusionMatrix())
    model: Any = trainer.lightning_module
    trainer.test(model, loader(), verbose=False)
    expected = torch.zeros(3, 3, dtype=torch.int64)
    model.eval()
    for images, labels in batches():
        for label, predicted in zip(labels, model(images).argmax(1), strict=True):
            expected[label, predicted] += 1
    assert [(counts.tolist(), classes) for counts, classes in drawn] == [
        (expected.tolist(), CLASSES)
    ]


class One(nn.Module):
    """The rate 1."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x) * self.one


@pytest.mark.parametrize(
    ("settings", "n_states"),
    [
        ({"scheme": "euler", "n_time_steps": 4}, 5),
        ({"scheme": "euler", "n_time_steps": 4, "gradient": "checkpoint"}, 5),
        ({"scheme": "rk4", "gradient": "adjoint"}, 3),
        ({"scheme": "dopri5"}, 33),
        ({"scheme": "bosh3", "gradient": "checkpoint"}, 33),
        ({"scheme": "dopri5", "gradient": "adjoint"}, 3),
        ({"scheme": "torchdiffeq/dopri5"}, 3),
    ],
    ids=str,
)
def test_the_norm_of_a_state_is_shown_at_its_time(settings: Any, n_states: int) -> None:
    """With the rate 1, the state is t."""
    block = ODEBlock(One, n_basis=2, **settings)
    with torch.no_grad():
        times, norms = pictures._norms(block, torch.zeros(2, 1, 3, 3))
    assert len(times) == n_states
    assert (times[0], times[-1]) == (0, 1)
    assert norms == pytest.approx(times, abs=1e-3)


def test_states_that_are_too_large_for_a_picture_are_not_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "MOST_VALUES", 2**10)
    seen = []
    forward = One.forward
    monkeypatch.setattr(One, "forward", lambda self, x: seen.append(len(x)) or forward(self, x))
    block = ODEBlock(One, n_time_steps=15)
    assert pictures._norms(block, torch.zeros(1, 1, 16, 16)) == ([], [])
    assert seen == []
    pictures._norms(block, torch.zeros(100, 1, 4, 4))
    assert set(seen) == {2**10 // (16 * 16)}


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 1, 8, 8), 64), ((3, 3, 32, 32), 64), ((3, 3, 500, 250), 128), ((3, 5, 70, 70), 70)],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_of_any_size_are_shown_so_that_they_can_be_looked_at(
    shape: tuple[int, ...], size: int, dtype: torch.dtype
) -> None:
    images = torch.randint(0, 256, shape).to(dtype)
    assert drawing._tiles(images).shape == (3, 3, size, size)
    picture = drawing.grid(images, ["a", "b" * 99, ""])
    assert picture.shape == (size + 18, 8 * (size + 4), 3)


def test_an_image_is_shown_with_the_values_that_it_has() -> None:
    images = torch.arange(0, 256, dtype=torch.uint8).view(1, 1, 16, 16)
    tiles = drawing._tiles(images)
    assert torch.equal(tiles[0, 0, ::4, ::4], images[0, 0])
    assert torch.equal(drawing._tiles(images / 255), tiles)


@pytest.mark.parametrize("n", [2, 10, 30, 31, 1000])
def test_a_confusion_matrix_fits_on_a_screen(n: int) -> None:
    picture = drawing.confusion(torch.eye(n, dtype=torch.int64), [f"class {i}" for i in range(n)])
    assert max(picture.shape) <= 1200


def test_curves_of_any_height_are_drawn() -> None:
    for highest in (0.0, 1e-30, 0.3, 7.0, 1e30):
        picture = drawing.curves({"block 1": ([0, 1], [0, highest])}, "x", "y")
        assert picture.dtype == np.uint8
