"""Normalisation layers that keep running statistics of their input."""

from collections.abc import Iterator

from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers that normalise by the statistics of a batch."""

NORMS = (*BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
"""All layers that may keep a running mean and a running variance."""

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def batch_norms(module: nn.Module) -> Iterator[BatchNorm]:
    """Yield the batch norms within a module that keep running statistics."""
    for layer in module.modules():
        if isinstance(layer, BATCH_NORMS) and layer.track_running_stats:
            yield layer


def named_statistics(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the running statistics of all norms within a module, with their names."""
    for norm, layer in module.named_modules():
        if isinstance(layer, NORMS):
            yield from (
                (f"{norm}.{name}".removeprefix("."), buffer)
                for name, buffer in layer.named_buffers()
            )
