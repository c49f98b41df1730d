"""Training in many manifestations, so that one set of weights serves every depth.

For each batch one manifestation is drawn from a set. The loss of the run is then the mean over the
set, and the network learns to need no particular scheme and number of steps. Sources of the idea:
slimmable networks (Yu et al. 2019, arXiv 1812.08928 and 1903.05134), which share weights among
widths, and training with a random number of recurrences (Geiping et al. 2025, arXiv 2502.05171).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from contnet import arguments
from contnet.data.randomness import keyed_generator
from contnet.ode.manifestation import Manifestation

DRAWS = {"uniform": 0, "inverse_cost": 1}
"""How manifestations are drawn: in proportion to which power of 1 / (rate evaluations)."""

DRAWING = 0x6D616E69
"""Part of the key of the random numbers, which parts them from those of dropout."""


class RandomManifestations:
    """A set of manifestations, of which one is drawn for each training batch.

    The draw is a function of seed, epoch and batch. So it is equal in all processes, and in a run
    that was resumed, also within an epoch.

    Args:
        start: the manifestations at the depth that the network starts with. They have fixed steps.
            A refinement multiplies their steps like those of the network.
        draw: a name in `DRAWS`.
        single_steps: how often manifestations that start with one step are drawn, as a multiple of
            what `draw` says. They are the hardest to serve.
        seed: seed of the draws.

    Raises:
        ValueError: if there is no such way to draw, `single_steps` is not greater than 0, or a
            manifestation has no fixed steps.
    """

    def __init__(
        self, start: Sequence[Manifestation], draw: str, seed: int, single_steps: float = 1.0
    ) -> None:
        self.start = tuple(start)
        self.power = DRAWS[arguments.one_of("draw", draw, DRAWS)]
        self.single_steps = arguments.number("single_steps", single_steps, 0, exclusive=True)
        self.seed = seed
        if not self.start or any(one.n_f_evals is None for one in self.start):
            raise ValueError(
                "manifestations must be one or more schemes with fixed steps, got "
                f"{'; '.join(map(str, self.start)) or 'none'}"
            )

    def members(self, refined_by: int) -> tuple[Manifestation, ...]:
        """Return the manifestations once refinements have multiplied the steps by a factor."""
        return tuple(
            Manifestation(one.scheme, (one.n_time_steps or 0) * refined_by) for one in self.start
        )

    def drawn(self, epoch: int, batch: int, refined_by: int) -> Manifestation:
        """Return the manifestation of a batch of an epoch, both counted from 0."""
        generator = keyed_generator(self.seed, epoch, batch, DRAWING)
        row = torch.multinomial(self.probabilities, 1, generator=generator)
        return self.members(refined_by)[int(row)]

    @property
    def probabilities(self) -> Tensor:
        """The probability of each manifestation."""
        costs = torch.tensor([one.n_f_evals for one in self.start], dtype=torch.float64)
        weights = costs**-self.power
        for row, one in enumerate(self.start):
            if one.n_time_steps == 1:
                weights[row] *= self.single_steps
        return weights / weights.sum()


def cheapest(members: Sequence[Manifestation]) -> Manifestation:
    """Return the manifestation of the fewest rate evaluations; of several, the first."""
    return min(members, key=_cost)


def finest(members: Sequence[Manifestation]) -> Manifestation:
    """Return the manifestation of the most rate evaluations; of several, the first."""
    return max(members, key=_cost)


def _cost(manifestation: Manifestation) -> int:
    return manifestation.n_f_evals or 0
