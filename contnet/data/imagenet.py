"""Tiny-ImageNet, from its unpacked folder."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch

from contnet.data.files import LeftOut, folder_of, image_files, reading
from contnet.data.folder import Files, data_in_files, report
from contnet.data.image_data import ImageData

IMAGE_SIZE = 64


@reading("root")
def tiny_imagenet(
    root: str,
    memory_gb: float,
    num_workers: int,
    skip_unreadable: bool = False,
    **options: Any,
) -> ImageData:
    """Tiny-ImageNet: 100,000 + 10,000 colour images of 64 x 64 pixels in 200 classes.

    The test images are the published validation images, because the published test images have no
    labels.

    Args:
        root: the folder, with `wnids.txt`, `train/<class>/images/`, `val/images/` and
            `val/val_annotations.txt`.
        memory_gb, num_workers, skip_unreadable: as for `image_folder`.
        options: those of `ImageData`.

    Raises:
        ValueError: if a part is missing or not readable, or an argument is out of range.
    """
    folder, left_out = folder_of(root), LeftOut()
    for part, exists in (
        ("wnids.txt", Path.is_file),
        ("train", Path.is_dir),
        ("val/images", Path.is_dir),
        ("val/val_annotations.txt", Path.is_file),
    ):
        if not exists(folder / part):
            raise ValueError(
                f"root must be the unpacked folder tiny-imagenet-200; {root!r} has no {part}"
            )
    classes = sorted(set((folder / "wnids.txt").read_text(errors="replace").split()))
    files = {
        "train": _train_files(folder / "train", classes, left_out),
        "test": _test_files(folder / "val", classes),
    }
    report(folder, classes, files, left_out)
    return data_in_files(
        files, classes, IMAGE_SIZE, memory_gb, num_workers, skip_unreadable, **options
    )


def _train_files(folder: Path, classes: list[str], left_out: LeftOut) -> Files:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = folder / name / "images"
        of_class = image_files(images, left_out) if images.is_dir() else []
        if not of_class:
            raise ValueError(f"root: {str(images)!r} holds no image")
        files += of_class
        labels += [label] * len(of_class)
    return files, torch.tensor(labels)


def _test_files(folder: Path, classes: list[str]) -> Files:
    annotations = folder / "val_annotations.txt"
    labelled = _read(annotations)
    unknown = sorted({name for _, name in labelled} - set(classes))
    if unknown:
        raise _refusal(annotations, f"has the class {unknown[0]!r}, which wnids.txt lacks")
    files = [file for file, _ in labelled]
    missing = sorted(set(files) - {file.name for file in (folder / "images").iterdir()})
    if missing:
        raise _refusal(annotations, f"has the image {missing[0]!r}, which val/images/ lacks")
    repeated = sorted(file for file, count in Counter(files).items() if count > 1)
    if repeated:
        raise _refusal(annotations, f"must have each image once, it has {repeated[0]!r} more often")
    label_of = {name: label for label, name in enumerate(classes)}
    labels = torch.tensor([label_of[name] for _, name in labelled])
    return [folder / "images" / file for file in files], labels


def _read(annotations: Path) -> list[tuple[str, str]]:
    """Return file and class of each image: the first two columns of its line."""
    labelled = []
    for number, line in enumerate(annotations.read_text(errors="replace").splitlines(), start=1):
        columns = line.split("\t")
        if line.strip() and len(columns) < 2:
            raise _refusal(
                annotations,
                "must hold a line for each image, file and class separated by a tab; "
                f"line {number} is {line!r}",
            )
        if line.strip():
            labelled.append((columns[0], columns[1]))
    if not labelled:
        raise _refusal(annotations, "must hold a line for each image; it is empty")
    return labelled


def _refusal(annotations: Path, reason: str) -> ValueError:
    return ValueError(f"root: {str(annotations)!r} {reason}")
