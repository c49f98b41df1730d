"""Predictions of any number of image files, which worker processes decode."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from contnet import arguments
from contnet.data.preprocessing import Preprocessing
from contnet.serving.strokes import only_strokes
from contnet.serving.trained import TrainedNetwork

Decoded = Tensor | str
"""The pixels (C, H, W) of an image, or the reason why it cannot be read."""


@dataclass(frozen=True)
class Row:
    """What a network says of one file.

    Args:
        path: the file.
        label: the number of the most probable class; None for a file that cannot be read.
        probability: of that class.
        next_label, next_probability: the class after it, and its probability.
        reason: why the file cannot be read; None if it can.
    """

    path: Path
    label: int | None = None
    probability: float | None = None
    next_label: int | None = None
    next_probability: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Decoding:
    """How files become batches.

    Args:
        batch_size: files in a batch.
        num_workers: processes that decode files; 0 decodes them in the one that predicts.
        strokes: take the strokes in each image alone: see `contnet.serving.strokes`.

    Raises:
        ValueError: if an argument is out of range.
    """

    batch_size: int = 256
    num_workers: int = 0
    strokes: bool = False

    def __post_init__(self) -> None:
        arguments.integer("batch_size", self.batch_size, minimum=1)
        arguments.integer("num_workers", self.num_workers, minimum=0)
        arguments.boolean("strokes", self.strokes)

    def n_batches(self, n_files: int) -> int:
        """Return the number of batches of so many files."""
        return -(-n_files // self.batch_size)


def predict_files(
    network: TrainedNetwork, files: Sequence[Path], decoding: Decoding
) -> Iterator[list[Row]]:
    """Yield the predictions of files, in their order, one list for each batch.

    Args:
        network: the network, on its device.
        files: image files.
        decoding: how they become batches.
    """
    loader: DataLoader[Any] = DataLoader(
        _Files(files, network.preprocessing, strokes=decoding.strokes),
        decoding.batch_size,
        num_workers=min(
            decoding.num_workers, decoding.n_batches(len(files)) - 1, os.cpu_count() or 1
        ),
        collate_fn=list,  # images that cannot be read are no tensors
    )
    position = 0
    for batch in loader:
        paths = files[position : position + len(batch)]
        position += len(batch)
        yield _rows(network, paths, batch)


class _Files(Dataset[Any]):
    def __init__(
        self, files: Sequence[Path], preprocessing: Preprocessing, *, strokes: bool
    ) -> None:
        self.files = files
        self.preprocessing = preprocessing
        self.change = only_strokes if strokes else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Decoded:
        return self.preprocessing.decode(self.files[index], self.change)


def _rows(network: TrainedNetwork, paths: Sequence[Path], batch: Sequence[Decoded]) -> list[Row]:
    readable = [image for image in batch if isinstance(image, Tensor)]
    predicted = iter(_predicted(network, readable) if readable else ())
    return [
        Row(path, *next(predicted)) if isinstance(image, Tensor) else Row(path, reason=image)
        for path, image in zip(paths, batch, strict=True)
    ]


def _predicted(
    network: TrainedNetwork, images: Sequence[Tensor]
) -> list[tuple[int, float, int, float]]:
    """Return the two most probable classes of each image, with their probabilities."""
    probabilities = network.predict(torch.stack(list(images)), batch_size=len(images)).probabilities
    values, labels = probabilities.topk(2)
    return [
        (label, value, next_label, next_value)
        for (label, next_label), (value, next_value) in zip(
            labels.tolist(), values.tolist(), strict=True
        )
    ]
