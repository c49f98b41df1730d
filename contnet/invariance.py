"""The invariance check: one set of weights, many manifestations (Queiruga et al. 2020, section 5).

A manifestation is the graph that a scheme and a number of steps make of a continuous-in-depth network. If the network
has learned a differential equation, finer manifestations than the one it was trained with give the same answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from contnet.networks.continuous import ContinuousNet
from contnet.schemes import ADAPTIVE_SCHEMES, AdaptiveScheme
from contnet.score import Score


@dataclass(frozen=True)
class Row:
    """How a manifestation does on the test images; `n_time_steps` is None where the scheme chooses its own."""

    scheme: str
    n_time_steps: int | None
    n_f_evals: int
    loss: float
    accuracy: float
    trained: bool


def sweep(
    network: ContinuousNet,
    batches: Iterable[tuple[Tensor, Tensor]],
    schemes: Sequence[str],
    n_time_steps: Sequence[int],
) -> list[Row]:
    """Evaluate every scheme with every number of steps, an adaptive scheme once.

    The images are gone through once: each batch (normalised images, labels) passes all manifestations. `n_f_evals` is
    of one batch (the largest, for adaptive schemes). The network comes back as it was.
    """
    trained = (network.scheme, network.n_time_steps)
    manifestations: list[tuple[str, int | None]] = []
    for scheme in schemes:
        manifestations += [(scheme, None)] if scheme in ADAPTIVE_SCHEMES else [(scheme, n) for n in n_time_steps]
    device = next(network.parameters()).device
    scores = [Score(network.num_classes).to(device) for _ in manifestations]
    n_f_evals = [0] * len(manifestations)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            for images, labels in batches:
                for i, (scheme, n) in enumerate(manifestations):
                    network.set_manifestation(trained[0] if scheme == trained[0].name else scheme, n)
                    scores[i].update(network(images), labels)
                    n_f_evals[i] = max(n_f_evals[i], network.n_f_evals)
    finally:
        network.set_manifestation(*trained)
        network.train(was_training)
    return [
        Row(
            scheme=scheme,
            n_time_steps=n,
            n_f_evals=n_f_evals[i],
            loss=scores[i].loss.compute().item(),
            accuracy=scores[i].accuracy.compute().item(),
            trained=scheme == trained[0].name and (n == trained[1] or isinstance(trained[0], AdaptiveScheme)),
        )
        for i, (scheme, n) in enumerate(manifestations)
    ]
