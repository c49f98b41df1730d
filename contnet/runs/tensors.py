"""Tensors in the archive of a checkpoint: their form, and how they are read."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from contnet.runs.archive import Archive

DTYPES = {
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "IntStorage": torch.int32,
    "FloatStorage": torch.float32,
    "LongStorage": torch.int64,
    "DoubleStorage": torch.float64,
}
"""The type of the numbers in each kind of storage."""


@dataclass(frozen=True)
class Storage:
    """The numbers of one or several tensors in a file."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True)
class Stored:
    """A tensor in a file."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def with_tensors(tree: Any, archive: Archive) -> Any:
    """Return a tree with its tensors, read from the archive.

    Raises:
        MalformedError: if the bytes of a tensor are damaged.
    """
    storages: dict[Storage, Tensor] = {}

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: read(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(read, value))
        if not isinstance(value, Stored):
            return value
        if value.storage not in storages:
            storages[value.storage] = _numbers(value.storage, archive)
        numbers = storages[value.storage]
        return torch.as_strided(numbers, value.shape, value.strides, value.offset)

    return read(tree)


def _numbers(storage: Storage, archive: Archive) -> Tensor:
    if storage.numel == 0:
        return torch.empty(0, dtype=storage.dtype)
    content = archive.read(storage.key)
    if storage.dtype == torch.bool:  # a byte may have another value than 0 and 1
        return torch.frombuffer(content, dtype=torch.uint8) != 0
    return torch.frombuffer(content, dtype=storage.dtype)
