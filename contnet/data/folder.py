"""A folder of images as a data set."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from contnet import arguments
from contnet.data.image_data import ImageData
from contnet.data.images import FileImages

DEFAULT_VAL_SIZE = 0.1


def image_folder(
    root: str,
    image_size: int,
    memory_gb: float,
    val_size: float | None,
    num_workers: int,
    **options: Any,
) -> ImageData:
    """Images in `root/train/<class>/` and `root/test/<class>/`, and `root/val/<class>/` where it exists.

    Args:
        root: the folder.
        image_size: height and width that images are resized to, where they have others.
        memory_gb: images that together take at most so many GB of pixels are decoded once and kept in memory; more than
            that are decoded by `num_workers` processes as they are needed.
        val_size: as for `ImageData`; None takes `root/val` where it exists, else a tenth of the training images.
        options: those of `ImageData`.

    Raises:
        ValueError: if a folder is missing or empty, the classes disagree, or a file is no image.
    """
    folder = arguments.folder("root", root)
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise ValueError(
                f"root must hold the folders train/<class>/ and test/<class>/; {root!r} has no {split}/"
            )
    has_val = (folder / "val").is_dir() and val_size != 0
    if has_val and val_size is not None:
        raise ValueError(
            f"val_size must be null or 0 where root has a folder val/, got {val_size!r}"
        )
    names = ["train", "test", *(["val"] if has_val else [])]
    classes = _classes(folder / "train")
    listed = {name: _list_images(folder / name, classes) for name in names}
    val_size = DEFAULT_VAL_SIZE if val_size is None else val_size
    return _image_data(
        listed, classes, image_size, memory_gb, num_workers, val_size=val_size, **options
    )


def tiny_imagenet(root: str, memory_gb: float, num_workers: int, **options: Any) -> ImageData:
    """Tiny-ImageNet: 100,000 + 10,000 colour images of 64 x 64 pixels in 200 classes, from its unpacked folder.

    The images that it calls validation are the test images here, since its own test images have no labels.

    Args:
        root: the folder, with `wnids.txt`, `train/<class>/images/` and `val/` with `val_annotations.txt`.
        memory_gb, num_workers: as for `image_folder`.
        options: those of `ImageData`.

    Raises:
        ValueError: if a part is missing, or a file is no image.
    """
    folder = arguments.folder("root", root)
    annotations, test_images = folder / "val" / "val_annotations.txt", folder / "val" / "images"
    for part, is_there in (
        (folder / "wnids.txt", Path.is_file),
        (folder / "train", Path.is_dir),
        (test_images, Path.is_dir),
        (annotations, Path.is_file),
    ):
        if not is_there(part):
            lacking = part.relative_to(folder)
            raise ValueError(
                f"root must be the unpacked folder tiny-imagenet-200; {root!r} has no {lacking}"
            )
    classes = sorted(set((folder / "wnids.txt").read_text(errors="replace").split()))
    train = [sorted((folder / "train" / name / "images").glob("*.JPEG")) for name in classes]
    for name, files in zip(classes, train, strict=True):
        if not files:
            raise ValueError(f"root: {str(folder / 'train' / name / 'images')!r} holds no image")
    # A line an image: file, class, and a box that is of no use here.
    lines = []
    for number, line in enumerate(annotations.read_text(errors="replace").splitlines(), start=1):
        if line.strip():
            lines.append(line.split("\t"))
            if len(lines[-1]) < 2:
                rule = "must hold a line for each image, file and class apart by a tab"
                raise ValueError(f"root: {str(annotations)!r} {rule}; line {number} is {line!r}")
    if not lines:
        raise ValueError(f"root: {str(annotations)!r} must hold a line for each image, it is empty")
    unknown = sorted({line[1] for line in lines} - set(classes))
    if unknown:
        raise ValueError(
            f"root: {str(annotations)!r} has the class {unknown[0]!r}, which wnids.txt lacks"
        )
    names = [line[0] for line in lines]
    missing = sorted(set(names) - {file.name for file in test_images.iterdir()})
    if missing:
        raise ValueError(
            f"root: {str(annotations)!r} has the image {missing[0]!r}, which val/images/ lacks"
        )
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(
            f"root: {str(annotations)!r} must have each image once, it has {twice[0]!r} more often"
        )
    listed = {
        "train": (
            [file for files in train for file in files],
            [i for i, files in enumerate(train) for _ in files],
        ),
        "test": (
            [test_images / name for name in names],
            [classes.index(line[1]) for line in lines],
        ),
    }
    splits = {name: (files, torch.tensor(labels)) for name, (files, labels) in listed.items()}
    return _image_data(splits, classes, 64, memory_gb, num_workers, **options)


def _image_data(
    listed: dict[str, tuple[list[Path], Tensor]],
    classes: list[str],
    image_size: int,
    memory_gb: float,
    num_workers: int,
    **options: Any,
) -> ImageData:
    arguments.integer("image_size", image_size, minimum=1)
    arguments.number("memory_gb", memory_gb, minimum=0)
    arguments.integer("num_workers", num_workers, minimum=0)
    n_bytes = sum(len(files) for files, _ in listed.values()) * image_size**2 * FileImages.channels
    in_memory = n_bytes <= memory_gb * 1e9
    splits = {
        name: FileImages(files, labels, image_size, in_memory)
        for name, (files, labels) in listed.items()
    }
    workers = 0 if in_memory else num_workers
    return ImageData(
        splits["train"],
        splits["test"],
        classes,
        val=splits.get("val"),
        num_workers=workers,
        **options,
    )


def _classes(folder: Path) -> list[str]:
    classes = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if len(classes) < 2:
        raise ValueError(
            f"root must hold at least 2 classes, each a folder; {str(folder)!r} has {len(classes)}"
        )
    return classes


def _list_images(folder: Path, classes: list[str]) -> tuple[list[Path], Tensor]:
    unknown = sorted(set(_classes(folder)) - set(classes))
    if unknown:
        raise ValueError(f"root: {str(folder)!r} has the class {unknown[0]!r}, which train/ lacks")
    suffixes = set(Image.registered_extensions())
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        members = sorted(
            file for file in (folder / name).rglob("*") if file.suffix.lower() in suffixes
        )
        files += members
        labels += [label] * len(members)
        if folder.name == "train" and not members:
            raise ValueError(f"root: the class folder {str(folder / name)!r} holds no image")
    if not files:
        raise ValueError(f"root: {str(folder)!r} holds no image")
    return files, torch.tensor(labels)
