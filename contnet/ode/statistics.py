"""Running statistics for each of several manifestations.

The states of a network differ between its manifestations, and so do the statistics that its norms
need. A norm computes with one running mean and one running variance. Those of further
manifestations lie in rows beside them, as buffers of a submodule of the norm. So they are saved,
moved, copied, refined and projected together with it.

When a network changes to another manifestation, each norm puts its statistics into the row of the
old one, and takes those of the new one. A manifestation without a row gets those of the row that is
nearest in cost.
"""

from collections.abc import Iterable, Sequence
from math import inf, log

import torch
from torch import nn

from contnet.ode.manifestation import Manifestation
from contnet.ode.norms import norms

ROWS = "by_manifestation"
"""The name of the submodule."""


class Rows(nn.Module):
    """The running statistics of a norm in each of `manifestations`, one row each.

    Every buffer of the norm has one of the same name here, with a dimension for the manifestations
    in front.
    """

    def __init__(self, norm: nn.Module, manifestations: Sequence[Manifestation]) -> None:
        super().__init__()
        self.manifestations = tuple(manifestations)
        old = rows_of(norm)
        for name, present in norm.named_buffers(recurse=False):
            rows = [
                present if old is None else getattr(old, name)[nearest(one, old.manifestations)]
                for one in self.manifestations
            ]
            self.register_buffer(name, torch.stack(rows))


def provide(network: nn.Module, manifestations: Sequence[Manifestation]) -> None:
    """Let every norm of a network keep the statistics of these manifestations, and of no others.

    A new row begins as the one that is nearest in cost, or else as the present statistics.
    """
    for norm in list(norms(network)):
        rows = Rows(norm, manifestations) if manifestations else None
        if rows is not None:
            norm.add_module(ROWS, rows)
        elif rows_of(norm) is not None:
            delattr(norm, ROWS)


def provided(network: nn.Module) -> tuple[Manifestation, ...]:
    """Return the manifestations that the norms of a network keep statistics of."""
    for rows in map(rows_of, norms(network)):
        if rows is not None:
            return rows.manifestations
    return ()


def exchange(
    layers: Iterable[nn.Module], before: Manifestation | None, after: Manifestation | None
) -> None:
    """Let norms change from the statistics of one manifestation to those of another.

    A manifestation is None where ODE blocks differ in it. Nothing is kept, or taken, for it.
    """
    if before != after:
        layers = list(layers)
        keep(layers, before)
        take(layers, after)


@torch.no_grad()
def keep(layers: Iterable[nn.Module], manifestation: Manifestation | None) -> None:
    """Put the present statistics of norms into the rows of a manifestation that has them."""
    for norm in layers:
        rows = rows_of(norm)
        if rows is not None and manifestation in rows.manifestations:
            row = rows.manifestations.index(manifestation)
            for name, present in norm.named_buffers(recurse=False):
                getattr(rows, name)[row].copy_(present)


@torch.no_grad()
def take(layers: Iterable[nn.Module], manifestation: Manifestation | None) -> None:
    """Let norms compute with the statistics of a manifestation, where they keep any."""
    for norm in layers:
        rows = rows_of(norm)
        if rows is not None and manifestation is not None:
            row = nearest(manifestation, rows.manifestations)
            for name, present in norm.named_buffers(recurse=False):
                present.copy_(getattr(rows, name)[row])


def rows_of(norm: nn.Module) -> Rows | None:
    """Return the rows of a norm, None if it keeps the present statistics alone."""
    rows = getattr(norm, ROWS, None)
    return rows if isinstance(rows, Rows) else None


def nearest(manifestation: Manifestation, kept: Sequence[Manifestation]) -> int:
    """Return the index of a manifestation, or of the one that is nearest to it in cost.

    The distance is the ratio of the rate evaluations. Of two that are equally near, the one with
    the same scheme is nearer, then the dearer one. An adaptive scheme has no cost beforehand: the
    dearest, which is the most accurate, is the nearest to it.
    """
    if manifestation in kept:
        return kept.index(manifestation)
    wanted = _log_cost(manifestation)

    def distance(row: int) -> tuple[float, bool, float]:
        cost = _log_cost(kept[row])
        off = -cost if wanted == inf else abs(cost - wanted)
        return round(off, 9), kept[row].scheme != manifestation.scheme, -cost

    return min(range(len(kept)), key=distance)


def _log_cost(manifestation: Manifestation) -> float:
    return inf if manifestation.n_f_evals is None else log(manifestation.n_f_evals)
