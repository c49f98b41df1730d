"""Finished manifestations on disk, so that a sweep that is stopped goes on where it was."""

import hashlib
import os
import pickle
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch

from contnet.invariance.outcome import Outcome


class Store:
    """Outcomes in `folder`, each in a file that is named after all it depends on; any of them may be deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Outcome | None:
        """The outcome kept under `key`, if there is a sound one."""
        try:
            return Outcome(**torch.load(self._path(key), weights_only=True))
        except (OSError, RuntimeError, EOFError, TypeError, ValueError, pickle.UnpicklingError):
            return None

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep an outcome; a file is there whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f"{os.getpid()}.tmp"
        cpu = {
            "logits": tuple(batch.cpu() for batch in outcome.logits),
            "labels": outcome.labels.cpu(),
        }
        torch.save(asdict(outcome) | cpu, unfinished)
        unfinished.replace(self._path(key))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.pt"


def digest(parts: Iterable[object]) -> str:
    """A name for whatever these print as; bytes count as they are."""
    combined = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        combined.update(len(content).to_bytes(8, "little") + content)
    return combined.hexdigest()[:32]
