"""A folder of images as a data set."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contnet import arguments
from contnet.data.files import (
    LeftOut,
    class_folders,
    folder_of,
    image_files,
    reading,
    shown,
)
from contnet.data.image_data import ImageData
from contnet.data.images import FileImages

log = logging.getLogger(__name__)

DEFAULT_VAL_SIZE = 0.1

Files = tuple[list[Path], Tensor]
"""The files of N images, and their labels, int64 (N,)."""


@reading("root")
def image_folder(
    root: str,
    image_size: int,
    memory_gb: float,
    val_size: float | None,
    num_workers: int,
    skip_unreadable: bool = False,
    **options: Any,
) -> ImageData:
    """Return the images in `root/<split>/<class>/`; the splits are train, test and perhaps val.

    Args:
        root: the folder.
        image_size: height and width; images of other sizes are resized.
        memory_gb: if the pixels of all images take at most so many GB, they are decoded once and
            kept in memory. Otherwise `num_workers` processes decode them as they are needed.
        val_size: as for `ImageData`; None takes `root/val` if it exists, else a tenth of the
            training images.
        skip_unreadable: leave out images that cannot be read, instead of an error. All images are
            decoded at the start to find them.
        options: those of `ImageData`.

    Raises:
        ValueError: if a folder is missing, empty or not readable, the classes disagree, or an
            argument is out of range.
    """
    folder, left_out = folder_of(root), LeftOut()
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise ValueError(
                "root must hold the folders train/<class>/ and test/<class>/; "
                f"{root!r} has no {split}/"
            )
    has_val = (folder / "val").is_dir() and val_size != 0
    if has_val and val_size is not None:
        raise ValueError(
            f"val_size must be null or 0 where root has a folder val/, got {val_size!r}"
        )
    splits = ["train", "test", *(["val"] if has_val else [])]
    classes = class_folders(folder / "train", left_out)
    if len(classes) < 2:
        raise ValueError(
            f"root must hold at least 2 classes, each a folder; {str(folder / 'train')!r} has "
            f"{len(classes)}"
        )
    files = {"train": _files(folder / "train", classes, left_out)}
    for split in splits[1:]:
        known = class_folders(folder / split, left_out)
        unknown = sorted(set(known) - set(classes))
        if unknown:
            raise ValueError(
                f"root: {str(folder / split)!r} has the class {unknown[0]!r}, which train/ lacks"
            )
        files[split] = _files(folder / split, classes, left_out)
    report(folder, classes, files, left_out)
    options["val_size"] = DEFAULT_VAL_SIZE if val_size is None else val_size
    return data_in_files(
        files, classes, image_size, memory_gb, num_workers, skip_unreadable, **options
    )


def data_in_files(
    files: dict[str, Files],
    classes: list[str],
    image_size: int,
    memory_gb: float,
    num_workers: int,
    skip_unreadable: bool,
    **options: Any,
) -> ImageData:
    """Return the data set of the image files of "train", "test" and possibly "val".

    Raises:
        ValueError: if an argument is out of range.
    """
    arguments.integer("image_size", image_size, minimum=1)
    arguments.number("memory_gb", memory_gb, minimum=0)
    arguments.integer("num_workers", num_workers, minimum=0)
    arguments.boolean("skip_unreadable", skip_unreadable)
    n_images = sum(len(paths) for paths, _ in files.values())
    n_bytes = n_images * image_size**2 * FileImages.channels
    in_memory = n_bytes <= memory_gb * 1e9
    splits = {
        split: FileImages(paths, labels, image_size, in_memory, skip_unreadable)
        for split, (paths, labels) in files.items()
    }
    return ImageData(
        splits["train"],
        splits["test"],
        classes,
        val=splits.get("val"),
        num_workers=0 if in_memory else num_workers,
        **options,
    )


def report(root: Path, classes: list[str], files: dict[str, Files], left_out: LeftOut) -> None:
    """Log one line: the classes, the images of each split, and what is left out."""
    counts = ", ".join(f"{len(paths):,} in {split}" for split, (paths, _) in files.items())
    without = f"; left out: {left_out}" if left_out.counts else ""
    log.info(f"{shown(root)}: {len(classes)} classes; images: {counts}{without}")


def _files(folder: Path, classes: list[str], left_out: LeftOut) -> Files:
    """Return the images of the classes in the folder of a split, which may lack some of them."""
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        of_class = image_files(folder / name, left_out) if (folder / name).is_dir() else []
        if folder.name == "train" and not of_class:
            raise ValueError(f"root: the class folder {str(folder / name)!r} holds no image")
        files += of_class
        labels += [label] * len(of_class)
    if not files:
        raise ValueError(f"root: {str(folder)!r} holds no image")
    return files, torch.tensor(labels)
