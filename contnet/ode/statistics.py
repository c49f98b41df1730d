"""Running statistics for each of several manifestations.

The states of a network differ between its manifestations, and so do the statistics that its norms
need. A norm computes with one running mean and one running variance. Those of further
manifestations lie in rows beside them, as buffers of a submodule of the norm. So they are saved,
moved, copied, refined and projected together with it.

When a network changes to another manifestation, each norm puts its statistics into the row of the
old one, and takes those of the new one. A manifestation without a row, or whose row has seen no
batch yet, gets those of the row that is nearest in cost.
"""

from collections.abc import Sequence
from math import inf, log
from typing import Any, Self

import torch
from torch import Tensor, nn

from contnet.ode.manifestation import Manifestation
from contnet.ode.norms import NORMS, norms

ROWS = "by_manifestation"
"""The name of the submodule."""

TRAINED_IN = "trained_in"
"""The name of the attribute of a network that holds its manifestations."""


class Rows(nn.Module):
    """The running statistics of a norm in each of `manifestations`, one row each.

    Every buffer of the norm has one of the same name here, with a dimension for the manifestations
    in front. `trained` says which rows have been used in training.
    """

    trained: Tensor

    def __init__(self, norm: nn.Module, manifestations: Sequence[Manifestation]) -> None:
        super().__init__()
        self.manifestations = tuple(manifestations)
        self._number = {one: row for row, one in enumerate(manifestations)}
        self.is_stale = False
        self._usable: list[int] | None = None
        old = rows_of(norm)
        present = dict(norm.named_buffers(recurse=False))
        self.names = tuple(present)
        present["trained"] = torch.zeros_like(present["running_mean"][0], dtype=torch.bool)
        for name, buffer in present.items():
            rows = [
                buffer if old is None else getattr(old, name)[old.nearest(one)]
                for one in self.manifestations
            ]
            self.register_buffer(name, torch.stack(rows))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._usable = None

    def train(self, mode: bool = True) -> Self:
        """Change the mode together with the norm, whose statistics training has changed."""
        self.is_stale |= self.training
        return super().train(mode)

    def keep(self, row: int, norm: nn.Module) -> None:
        """Put the statistics of the norm into a row, if they may have changed."""
        if not norm.training and not self.is_stale:
            return
        self.is_stale = False
        for name in self.names:
            getattr(self, name)[row].copy_(getattr(norm, name))
        if row not in self.usable:
            self.trained[row] = True
            self.usable.append(row)

    @property
    def usable(self) -> list[int]:
        """The rows that have been used in training."""
        if self._usable is None:  # remembered: to read a value from a GPU takes long
            self._usable = self.trained.nonzero().flatten().tolist()
        return self._usable

    def nearest(self, manifestation: Manifestation) -> int:
        """Return the row of a manifestation, or else the usable one that is nearest in cost.

        The distance is the ratio of the rate evaluations. Of two rows that are equally near, the
        one with the same scheme is nearer, then the dearer one. An adaptive scheme has no cost
        beforehand: the dearest row, which is the most accurate, is the nearest to it.
        """
        rows = self.usable or range(len(self.manifestations))
        own = self._number.get(manifestation)
        if own is not None and own in rows:
            return own
        wanted = _log_cost(manifestation)

        def distance(row: int) -> tuple[float, bool, float]:
            kept = self.manifestations[row]
            cost = _log_cost(kept)
            off = -cost if wanted == inf else round(abs(cost - wanted), 9)
            return off, kept.scheme != manifestation.scheme, -cost

        return min(rows, key=distance)


def provide(network: nn.Module, manifestations: Sequence[Manifestation]) -> None:
    """Let every norm of a network keep the statistics of these manifestations, and of no others.

    A new row begins as the one that is nearest in cost, or else as the present statistics. The
    network remembers the manifestations, also if it has no norms.
    """
    setattr(network, TRAINED_IN, tuple(manifestations))
    for norm in list(norms(network)):
        if manifestations:
            norm.add_module(ROWS, Rows(norm, manifestations))
        elif rows_of(norm) is not None:
            delattr(norm, ROWS)


def provided(network: nn.Module) -> tuple[Manifestation, ...]:
    """Return the manifestations that a network is trained in, if there are several."""
    manifestations: tuple[Manifestation, ...] = getattr(network, TRAINED_IN, ())
    return manifestations


def exchange(module: nn.Module, before: Manifestation | None, after: Manifestation | None) -> None:
    """Let the norms of a module change from the statistics of one manifestation to another's.

    A manifestation is None where ODE blocks differ in it. Nothing is kept, or taken, for it.
    """
    if before != after:
        keep(module, before)
        take(module, after)


@torch.no_grad()
def keep(module: nn.Module, manifestation: Manifestation | None) -> None:
    """Put the present statistics of all norms into the row of a manifestation, if they have one."""
    for norm, rows in _with_rows(module):
        if manifestation in rows.manifestations:
            rows.keep(rows.manifestations.index(manifestation), norm)


@torch.no_grad()
def take(module: nn.Module, manifestation: Manifestation | None) -> None:
    """Let all norms compute with the statistics of a manifestation."""
    if manifestation is None:
        return
    for norm, rows in _with_rows(module):
        row = rows.nearest(manifestation)
        for name in rows.names:
            # Another tensor: a backward pass may still need the one that is replaced.
            norm._buffers[name] = getattr(rows, name)[row].clone()


def _with_rows(module: nn.Module) -> list[tuple[nn.Module, Rows]]:
    """List the norms within a module that keep statistics of several manifestations."""
    found = ((norm, rows_of(norm)) for norm in module.modules())
    return [(norm, rows) for norm, rows in found if rows is not None]


def rows_of(module: nn.Module) -> Rows | None:
    """Return the rows of a norm; None for other modules, and if it has present statistics alone."""
    rows = getattr(module, ROWS, None) if isinstance(module, NORMS) else None
    return rows if isinstance(rows, Rows) else None


def _log_cost(manifestation: Manifestation) -> float:
    return inf if manifestation.n_f_evals is None else log(manifestation.n_f_evals)
