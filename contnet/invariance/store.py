"""The store: outcomes on disk, from which a stopped sweep resumes."""

import hashlib
import pickle
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from io import BytesIO
from pathlib import Path

import torch

from contnet.invariance.outcome import Outcome
from contnet.runs.atomic import write_atomically


class Store:
    """Outcomes in a folder, each in a file of its own, which may be deleted at any time.

    Args:
        folder: path of the folder; it is made when the first outcome is saved.

    `run` is the time at which this run of a study began: latencies are compared within a run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = datetime.now().astimezone().isoformat(timespec="microseconds")

    def load(self, key: str) -> Outcome | None:
        """Load the outcome that was saved under a key; return None if no usable file exists."""
        try:
            return Outcome(**torch.load(self._path(key), weights_only=True))
        except (OSError, RuntimeError, EOFError, TypeError, ValueError, pickle.UnpicklingError):
            return None

    def save(self, key: str, outcome: Outcome) -> None:
        """Write an outcome atomically, its tensors on the CPU.

        Raises:
            OSError: if the file cannot be written.
        """
        on_cpu = {
            "logits": tuple(batch.cpu() for batch in outcome.logits),
            "labels": outcome.labels.cpu(),
        }
        content = BytesIO()
        torch.save(asdict(outcome) | on_cpu, content)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(key), content.getbuffer())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.pt"


def digest(parts: Iterable[object]) -> str:
    """Return a name for `parts`: equal parts, equal name.

    Bytes are compared as they are, everything else by its `repr`.
    """
    combined = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        combined.update(len(content).to_bytes(8, "little") + content)
    return combined.hexdigest()[:32]
