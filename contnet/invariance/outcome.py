"""What a network, as it is, makes of a set of images: its logits, and what they cost."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from contnet.ode.depth_time import depth_time

N_TIMED = 7
"""Batches whose time is taken, at least."""


@dataclass(frozen=True)
class Batches:
    """Labelled images on their device, ready for a network, as often as they are asked for.

    Args:
        loader: batches of images (uint8) and labels; a list of them where they are few enough to stay on the device.
        normalise: from those images to what the network sees.
        device: where the network is.
    """

    loader: Iterable[tuple[Tensor, Tensor]]
    normalise: nn.Module
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.loader:
            yield self.normalise(images.to(self.device)), labels.to(self.device)


@dataclass(frozen=True)
class Outcome:
    """Logits (N, num_classes) of all images, in the batches in which they were computed, and their labels (N,).

    `n_f_evals` is of one batch (the largest, for an adaptive scheme) and None without depth-time; `flops` are of one
    image; `latency` is seconds per image, the median over full batches of `batch_size`, warmed up; `peak_memory` is in
    bytes, and None but on a GPU.
    """

    logits: tuple[Tensor, ...]
    labels: Tensor
    n_f_evals: int | None
    flops: float
    latency: float
    batch_size: int
    peak_memory: int | None


def observe(network: nn.Module, batches: Batches) -> Outcome:
    """One pass through the images, each computed once; the first batch passes again to warm up, and in a small set some
    more times to be timed.

    The network is used in the mode it is in. Raises what the network raises.
    """
    images, _ = next(iter(batches))
    on_gpu = batches.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(batches.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)  # which is also the warm-up
    logits, all_labels, seconds, n_f_evals = [], [], [], 0
    with torch.inference_mode():
        for images, labels in batches:
            start = _now(on_gpu)
            own = network(images)
            seconds.append((_now(on_gpu) - start) / len(images))
            # In 16 bits the loss would be one of the rounding.
            logits.append(own.float() if own.element_size() < 4 else own)
            all_labels.append(labels)
            depth = depth_time(network)
            if depth is not None:
                n_f_evals = max(n_f_evals, depth.n_f_evals)
        batch_size = len(logits[0])
        full = [t for t, batch in zip(seconds, logits, strict=True) if len(batch) == batch_size]
        images, _ = next(iter(batches))
        while len(full) < N_TIMED:
            start = _now(on_gpu)
            network(images)
            full.append((_now(on_gpu) - start) / batch_size)
    return Outcome(
        tuple(logits),
        torch.cat(all_labels),
        n_f_evals or None,
        counter.get_total_flops() / batch_size,
        median(full),
        batch_size,
        torch.cuda.max_memory_allocated(batches.device) if on_gpu else None,
    )


def _now(on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()
