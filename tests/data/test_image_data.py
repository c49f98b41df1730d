import pytest
import torch

from contnet.data import ImageData
from contnet.data.images import ArrayImages
from contnet.data.splits import stratified_share
from tests.data.options import OPTIONS


def test_the_validation_part_is_a_stratified_share_of_the_training_images_alone() -> None:
    labels = torch.tensor([0] * 40 + [1] * 20 + [2] * 10)
    chosen = stratified_share(labels, 0.1, seed=0, classes="abc")
    assert [int(chosen[labels == label].sum()) for label in range(3)] == [4, 2, 1]
    assert torch.equal(chosen, stratified_share(labels, 0.1, seed=0, classes="abc"))
    assert not torch.equal(chosen, stratified_share(labels, 0.1, seed=1, classes="abc"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"val_size": 2}, "val_size must be a number at least 0 and less than 1, got 2"),
        (
            {"val_size": 0.001},
            "val_size must be 0 or give a class a validation image, got 0.001; the largest class, "
            "'0', has 10 images",
        ),
        (
            {"val_size": 0.999},
            "val_size must leave training images in every class, got 0.999; '0' has 10 images",
        ),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"mean": [0.5]}, "mean must be a list of 3 numbers"),
        ({"std": [0.5, 0, 1]}, "std must be greater than 0 in every channel"),
        ({"crop_padding": -1}, "crop_padding must be a whole number of at least 0, got -1"),
    ],
)
def test_options_out_of_range_are_refused(option: dict, message: str) -> None:
    images = ArrayImages(torch.zeros(100, 2, 2, 3, dtype=torch.uint8), torch.arange(100) % 10)
    with pytest.raises(ValueError, match=message):
        ImageData(
            images, images, "0123456789", **{**OPTIONS, "val_size": 0.1, "num_workers": 0, **option}
        )


def test_classes_without_a_validation_image_are_named(caplog: pytest.LogCaptureFixture) -> None:
    labels = torch.tensor([0] * 40 + [1] * 4 + [2] * 20 + [3] * 1)
    images = ArrayImages(torch.zeros(65, 2, 2, 3, dtype=torch.uint8), labels)
    names = ["ant", "bee", "cow", "dog", "eel"]
    data = ImageData(images, images, names, **{**OPTIONS, "val_size": 0.1, "num_workers": 0})
    assert data.val is not None
    assert data.val.labels.bincount().tolist() == [4, 0, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "dataset.val_size=0.1 leaves 2 classes without a validation image: 'bee' (4 images), 'dog' "
        "(1 image)"
    ]
    caplog.clear()
    ImageData(images, images, names, **{**OPTIONS, "val_size": 0.5, "num_workers": 0})
    assert len(caplog.records) == 1
    caplog.clear()
    ImageData(images, images, names, **{**OPTIONS, "val_size": 0, "num_workers": 0})
    assert caplog.records == []
