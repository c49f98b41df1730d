"""Images of every kind become the same input as in training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from contnet.data.images import FileImages
from contnet.data.preprocessing import Preprocessing
from tests.serving.made import COLOUR, NETWORKS, images, trained

GREY = Preprocessing((1, 8, 8), (0.5,), (0.25,))
OWN = Preprocessing((3, 8, 8), (0.0,) * 3, (1.0,) * 3, white=1)


def pillow(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def test_every_kind_of_image_gives_the_same_pixels(tmp_path: Path) -> None:
    pixels = images(2)
    pillow(pixels[0]).save(tmp_path / "a.png")
    array = pixels.permute(0, 2, 3, 1).numpy()
    kinds = [pixels[0], array[0], pillow(pixels[0]), tmp_path / "a.png", str(tmp_path / "a.png")]
    for kind in kinds:
        assert torch.equal(COLOUR.batch(kind), pixels[:1])
    assert torch.equal(COLOUR.batch(kinds), pixels[[0] * 5])
    assert torch.equal(COLOUR.batch((kinds[1], pixels[1])), pixels)
    for batch in (pixels, array, list(pixels), list(array)):
        assert torch.equal(COLOUR.batch(batch), pixels)


@pytest.mark.parametrize("size", [(5, 9), (32, 20), (8, 8)])
def test_images_are_resized_as_in_training(size: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(256, size=(*size, 3), dtype=np.uint8)
    file = tmp_path / "a.png"
    Image.fromarray(array).save(file)
    expected = FileImages([file], torch.tensor([0]), 8, decode_once=False).take(torch.tensor([0]))[
        0
    ]
    for kind in (file, array, torch.from_numpy(array).permute(2, 0, 1), Image.open(file)):
        assert torch.equal(COLOUR.batch(kind), expected.permute(0, 3, 1, 2))


def test_grey_and_colour_are_what_the_network_needs() -> None:
    grey = images(1)[0, :1]
    assert torch.equal(GREY.batch(grey[0]), grey[None])
    assert torch.equal(GREY.batch(Image.fromarray(grey[0].numpy())), grey[None])
    assert torch.equal(GREY.batch(grey.expand(3, 8, 8)), grey[None])
    assert torch.equal(COLOUR.batch(grey), grey.expand(1, 3, 8, 8))
    assert torch.equal(COLOUR.batch(grey[0].numpy()), grey.expand(1, 3, 8, 8))


def test_images_of_the_users_own_data_set_stay_as_they_are() -> None:
    floats = torch.randn(3, 8, 8)
    assert torch.equal(OWN.batch(floats), floats[None])
    for other in (torch.randn(3, 4, 4), Image.new("RGB", (8, 8)), "a.png"):
        with pytest.raises(ValueError, match=r"images must be tensors of shape \(3, 8, 8\)"):
            OWN.batch(other)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.rand(3, 8, 8), "images must be uint8, from 0 to 255"),
        (torch.rand(1, 3, 8, 8), "images must be uint8, from 0 to 255"),
        (torch.rand(3, 9, 9), "images must be uint8 of shape"),
        (torch.zeros(2, 4, 8, 8, dtype=torch.uint8), "images must be uint8 of shape"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), "images must be uint8 of shape"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), "images must hold an image"),
        ([], "images must hold an image"),
        ("nowhere.png", "images: cannot use 'nowhere.png'"),
        (Image.new("L", (0, 4)), r"images must have pixels, got one of \(0, 4\)"),
        (".", "images: cannot use '.': a folder"),
        ("a" * 300, "its name is too long"),
        ("/dev/zero", "a pipe or a device, no file"),
        (Image.new("F", (8, 8)), "images: cannot use an image of Pillow: mode F"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        COLOUR.batch(wrong)


@pytest.mark.parametrize("wrong", [None, 3, [None], b"png", {"a": 1}])
def test_what_is_no_image_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="images must be files, images of Pillow"):
        COLOUR.batch(wrong)


def test_a_batch_of_a_network_is_what_its_images_give_alone() -> None:
    net = trained(NETWORKS["post-activation"])
    together = net(images(3))
    alone = torch.cat([net(image) for image in images(3)])
    assert torch.allclose(together, alone, atol=1e-6)
    predicted = net.predict(images(3), batch_size=2)
    assert torch.allclose(predicted.probabilities, alone.softmax(dim=1), atol=1e-6)
    assert [name for name, _ in predicted] == predicted.classes
    assert not net.training
    assert not predicted.probabilities.requires_grad


def test_a_network_without_ode_blocks_has_one_manifestation() -> None:
    net = trained(NETWORKS["ResNet"])
    assert (net.manifestation, net.n_f_evals, net.manifestations) == (None, 0, ())
    with pytest.raises(ValueError, match="the network has no ODE blocks"):
        net.set_manifestation("euler")
