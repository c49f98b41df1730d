"""Batch-norm statistics for a manifestation that none were gathered for.

Running statistics are those of the states that a network met in training. Another scheme or number of steps meets other
states, and much of what it then loses comes back once the statistics are its own; no label and no gradient is needed.
The images must be augmented as in training: clean ones have other statistics, and cost points even at the training
manifestation.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from contnet.ode.block import ODEBlock

N_IMAGES = 5120


def has_batch_norm(network: nn.Module) -> bool:
    """Whether there are statistics to gather."""
    return any(True for _ in _batch_norms(network))


@contextmanager
def recalibrated(network: nn.Module, images: Iterable[Tensor]) -> Iterator[None]:
    """Within, the network's running statistics are plain averages over `images` (batches, normalised), gathered in the
    manifestation that it is in; afterwards they are what they were. Where several nodes make up theta(t), which have
    no statistics of their own to average, they move on as in training."""
    norms = list(_batch_norms(network))
    together = set(_of_combined_nodes(network))
    saved = [
        ({name: buffer.clone() for name, buffer in norm.named_buffers()}, norm.momentum)
        for norm in norms
    ]
    try:
        for norm in norms:
            if norm not in together:
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative average, every batch alike
            norm.train()
        with torch.no_grad():
            for batch in images:
                network(batch)
        for norm in norms:
            norm.eval()
        yield
    finally:
        for norm, (buffers, momentum) in zip(norms, saved, strict=True):
            norm.momentum = momentum
            norm.eval()
            with torch.no_grad():
                for name, buffer in norm.named_buffers():
                    buffer.copy_(buffers[name])


def _of_combined_nodes(network: nn.Module) -> Iterator[_BatchNorm]:
    for block in network.modules():
        if isinstance(block, ODEBlock) and block.basis.combines:
            yield from _batch_norms(block)


def _batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            yield module
