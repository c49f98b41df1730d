"""The outcome of an evaluation: the logits that a network computes from images, and their cost."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from contnet.ode.adaptive import Effort
from contnet.ode.depth_time import depth_time

N_TIMED = 7
"""The smallest number of full batches that are timed."""


@dataclass(frozen=True)
class Batches:
    """Labelled images, on the device of a network and normalised for it; iterated many times.

    Args:
        loader: yields images (N, C, H, W), uint8, and labels (N,). It may be a list of batches that
            stay on the device.
        normalise: maps these images to the input of the network.
        device: the device of the network.
    """

    loader: Iterable[tuple[Tensor, Tensor]]
    normalise: nn.Module
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.loader:
            yield self.normalise(images.to(self.device)), labels.to(self.device)

    @property
    def on_gpu(self) -> bool:
        """True where the batches lie on a GPU."""
        return self.device.type == "cuda"


@dataclass(frozen=True)
class Outcome:
    """The logits of all images, and the cost of computing them.

    Args:
        logits: one tensor (n, num_classes) for each batch, as it was computed.
        labels: the labels (N,) of all images.
        n_f_evals: rate evaluations of one batch, the one with the most if batches differ; None for
            a network without depth-time.
        n_accepted, n_rejected: steps of an embedded pair in this batch; 0 for other schemes.
        flops: floating-point operations of one image.
        latency: seconds per image, the median over full batches after a warm-up.
        batch_size: images of a full batch.
        peak_memory: bytes on a GPU; None on other devices.
        measured: the time at which the run that measured it began; None if it is not known.
    """

    logits: tuple[Tensor, ...]
    labels: Tensor
    n_f_evals: int | None
    n_accepted: int
    n_rejected: int
    flops: float
    latency: float
    batch_size: int
    peak_memory: int | None
    measured: str | None = None


def observe(network: nn.Module, batches: Batches) -> Outcome:
    """Evaluate a network on all images, in the mode (training or evaluation) that it is in.

    A warm-up on the first batch counts the operations. Then each image is evaluated once. If there
    are too few full batches to time, the first batch is repeated.

    Raises:
        IntegrationError: if an adaptive scheme cannot reach its tolerance.
    """
    if batches.on_gpu:
        torch.cuda.reset_peak_memory_stats(batches.device)
    operations = _count_operations(network, batches)
    logits, labels, seconds, efforts = [], [], [], []
    depth = depth_time(network)
    with torch.inference_mode():
        for images, labels_of_batch in batches:
            start = _now(batches)
            computed = network(images)
            seconds.append(_now(batches) - start)
            # In 16 bits, the loss would include the rounding error of the logits.
            logits.append(computed.float() if computed.element_size() < 4 else computed)
            labels.append(labels_of_batch)
            efforts += [depth.effort] if depth else []
        batch_size = len(logits[0])
        full = [s for s, batch in zip(seconds, logits, strict=True) if len(batch) == batch_size]
        full += _time_first_batch(network, batches, repetitions=N_TIMED - len(full))
    effort = max(efforts, key=lambda effort: effort.n_f_evals, default=Effort())
    return Outcome(
        logits=tuple(logits),
        labels=torch.cat(labels),
        n_f_evals=effort.n_f_evals or None,
        n_accepted=effort.n_accepted,
        n_rejected=effort.n_rejected,
        flops=operations / batch_size,
        latency=median(full) / batch_size,
        batch_size=batch_size,
        peak_memory=torch.cuda.max_memory_allocated(batches.device) if batches.on_gpu else None,
    )


def _count_operations(network: nn.Module, batches: Batches) -> int:
    images, _ = next(iter(batches))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops()


def _time_first_batch(network: nn.Module, batches: Batches, repetitions: int) -> list[float]:
    """Return the seconds of each repetition."""
    images, _ = next(iter(batches))
    seconds = []
    for _ in range(repetitions):
        start = _now(batches)
        network(images)
        seconds.append(_now(batches) - start)
    return seconds


def _now(batches: Batches) -> float:
    """Return the time in seconds, once the GPU has nothing left to do."""
    if batches.on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()
