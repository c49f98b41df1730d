"""Normalisation layers that keep running statistics of their input."""

from collections.abc import Iterator

from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers that normalise by the statistics of a batch."""

NORMS = (*BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
"""All layers that may keep a running mean and a running variance."""

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def modules(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module and all that it contains, in the order of `nn.Module.modules`, but faster."""
    seen, unseen = set[int](), [module]
    while unseen:
        found = unseen.pop()
        if id(found) not in seen:
            seen.add(id(found))
            yield found
            inner = found._modules
            if inner:
                unseen += [one for one in reversed(inner.values()) if one is not None]


def batch_norms(module: nn.Module) -> Iterator[BatchNorm]:
    """Yield the batch norms within a module that keep running statistics."""
    for layer in module.modules():
        if isinstance(layer, BATCH_NORMS) and layer.track_running_stats:
            yield layer


def norms(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the norms within a module that hold running statistics."""
    for layer in module.modules():
        if isinstance(layer, NORMS) and layer.running_mean is not None:
            yield layer


def present_statistics(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the running statistics that the norms within a module compute with, and their names."""
    yield from _statistics(module, recurse=False)


def named_statistics(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield all running statistics within a module with their names.

    Those that are kept for other manifestations are among them: see `contnet.ode.statistics`.
    """
    yield from _statistics(module, recurse=True)


def _statistics(module: nn.Module, *, recurse: bool) -> Iterator[tuple[str, Tensor]]:
    for norm, layer in module.named_modules():
        if isinstance(layer, NORMS):
            yield from (
                (f"{norm}.{name}".removeprefix("."), buffer)
                for name, buffer in layer.named_buffers(recurse=recurse)
            )
