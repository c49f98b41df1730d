"""Recalibration: batch-norm statistics for a manifestation in which the network was not trained.

Running statistics are those of the states that a network had in training. With a different scheme
or number of steps the states are different. Accuracy falls, and much of it comes back with
statistics of the new states. Recalibration needs neither labels nor gradients.

The images must be augmented as in training. Images without augmentation have other statistics, and
cost accuracy even in the training manifestation.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from contnet.ode.depth_time import depth_time
from contnet.ode.norms import BatchNorm, batch_norms

N_IMAGES = 5120
"""Training images that statistics are gathered from."""


def has_batch_norm(network: nn.Module) -> bool:
    """Return True if a network has running statistics to recalibrate."""
    return any(True for _ in batch_norms(network))


@contextmanager
def recalibrated(network: nn.Module, images: Iterable[Tensor]) -> Iterator[None]:
    """Replace the running statistics of a network within the context, and restore them afterwards.

    The statistics are averages over all batches, each with equal weight, in the present
    manifestation. Where theta(t) combines several nodes, a node has no states of its own to
    average; its statistics are updated with their usual momentum, as in training.

    Args:
        network: a network in evaluation mode.
        images: batches (N, C, H, W), augmented and normalised as in training.
    """
    norms = list(batch_norms(network))
    saved = [_state(norm) for norm in norms]
    try:
        _gather(network, norms, images)
        yield
    finally:
        for norm, (momentum, buffers) in zip(norms, saved, strict=True):
            norm.momentum = momentum
            norm.eval()
            with torch.no_grad():
                for name, buffer in norm.named_buffers():
                    buffer.copy_(buffers[name])


def _gather(network: nn.Module, norms: list[BatchNorm], images: Iterable[Tensor]) -> None:
    combined = set(_norms_of_combined_nodes(network))
    for norm in norms:
        if norm not in combined:
            norm.reset_running_stats()
            norm.momentum = None  # the average over all batches, with equal weights
        norm.train()
    with torch.no_grad():
        for batch in images:
            network(batch)
    for norm in norms:
        norm.eval()


def _state(norm: BatchNorm) -> tuple[float | None, dict[str, Tensor]]:
    return norm.momentum, {name: buffer.clone() for name, buffer in norm.named_buffers()}


def _norms_of_combined_nodes(network: nn.Module) -> Iterator[BatchNorm]:
    depth = depth_time(network)
    for block in depth.blocks if depth else ():
        if block.basis.combines:
            yield from batch_norms(block)
