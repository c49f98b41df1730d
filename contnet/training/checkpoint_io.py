"""The checkpoint plugin of Lightning's Trainer."""

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from contnet.runs import checkpoint as checkpoints


class AtomicCheckpointIO(TorchCheckpointIO):
    """Save checkpoints atomically, and load only tensors and plain containers."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        checkpoints.save(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        # The caller's `weights_only` is ignored: a checkpoint may come from an untrusted source.
        return checkpoints.read(str(path))
