"""Data sets that scikit-learn holds or torchvision downloads.

The `options` of each function are those of `ImageData`, and `download` where something is
downloaded.
"""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torchvision import datasets

from contnet.data.files import folder_of
from contnet.data.image_data import ImageData
from contnet.data.images import ArrayImages
from contnet.data.splits import stratified_share


def digits(**options: Any) -> ImageData:
    """Scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels in 10 classes.

    They are published as one set. A fifth of every class is the test set; the choice is fixed.
    """
    from sklearn.datasets import load_digits

    published = load_digits()
    pixels = torch.from_numpy(published.images * (255 / 16)).round().to(torch.uint8).unsqueeze(-1)
    images = ArrayImages(pixels, torch.from_numpy(published.target).long())
    classes = [str(name) for name in published.target_names]
    test = stratified_share(images.labels, share=0.2, seed=0, classes=classes)
    return ImageData(
        images.subset((~test).nonzero()[:, 0]),
        images.subset(test.nonzero()[:, 0]),
        classes=classes,
        **options,
    )


def cifar10(root: str, **options: Any) -> ImageData:
    """CIFAR-10: 50,000 + 10,000 colour images of 32 x 32 pixels in 10 classes.

    They are downloaded to `root` if they are missing, unless `download=False`.

    Raises:
        ValueError: if the files are not under `root` and are not downloaded.
    """
    return _torchvision(datasets.CIFAR10, root, **options)


def cifar100(root: str, **options: Any) -> ImageData:
    """CIFAR-100: 50,000 + 10,000 colour images of 32 x 32 pixels in 100 classes.

    They are downloaded to `root` if they are missing, unless `download=False`.

    Raises:
        ValueError: if the files are not under `root` and are not downloaded.
    """
    return _torchvision(datasets.CIFAR100, root, **options)


def fashion_mnist(root: str, **options: Any) -> ImageData:
    """Fashion-MNIST: 60,000 + 10,000 grey images of 28 x 28 pixels in 10 classes.

    They are downloaded to `root` if they are missing, unless `download=False`.

    Raises:
        ValueError: if the files are not under `root` and are not downloaded.
    """
    return _torchvision(datasets.FashionMNIST, root, **options)


def _torchvision(dataset: Any, root: str, *, download: bool = True, **options: Any) -> ImageData:
    folder = folder_of(root)
    name = dataset.__name__
    new: list[Path] = []
    try:
        within = (folder / name / "raw", folder / name, folder, *folder.parents)
        new = [path for path in within if not path.exists()]
        published = [dataset(folder, train=train, download=download) for train in (True, False)]
    except (URLError, OSError, RuntimeError) as error:
        _remove_empty(new)
        if not download:
            raise ValueError(
                f"root must be given: {name} is neither whole in {root!r} nor downloaded for a "
                "checkpoint, unless you say where to (to train on: +dataset.download=true)"
            ) from error
        reason = getattr(error, "reason", error)
        raise ValueError(
            f"root must be a folder that holds the files of {name}, or one that they can be "
            f"downloaded to; in {root!r} they are missing or damaged, and the download failed "
            f"({reason})"
        ) from error
    train, test = (_array_images(split.data, split.targets) for split in published)
    return ImageData(train, test, published[0].classes, **options)


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders that a download has made and left empty, inner ones first."""
    for path in folders:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _array_images(data: Any, targets: Any) -> ArrayImages:
    pixels = torch.as_tensor(data)
    if pixels.ndim == 3:  # grey
        pixels = pixels.unsqueeze(-1)
    return ArrayImages(pixels.contiguous(), torch.as_tensor(targets).long())
