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
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from contnet.ode.manifestation import Manifestation
from contnet.ode.norms import NORMS, modules, norms

ROWS = "by_manifestation"
"""The name of the submodule."""

TRAINED_IN = "trained_in"
"""The name of the attribute of a network that holds its manifestations."""


class _Copy(NamedTuple):
    """Tensors equal to a row's statistics, while neither they nor the row's have been written to.

    PyTorch counts in `_version` how often a tensor is written to.
    """

    tensors: dict[str, Tensor]
    versions: list[int]
    rows: list[tuple[Tensor, int]]

    def is_equal(self, rows: "Rows") -> bool:
        """Return True if nothing has been written since the copy was made."""
        buffers = rows._buffers
        return [one._version for one in self.tensors.values()] == self.versions and all(
            buffers[name] is row and row._version == version
            for name, (row, version) in zip(rows.names, self.rows, strict=True)
        )


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
        self._copies: dict[int, _Copy] = {}
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
        """Put the statistics of the norm into a row."""
        self.is_stale = False
        for name in self.names:
            getattr(self, name)[row].copy_(getattr(norm, name))
        if row not in self.usable:
            self.trained[row] = True
            self.usable.append(row)

    def copy(self, row: int) -> dict[str, Tensor]:
        """Return tensors with the statistics of a row, which are the caller's to change.

        A network that is served changes none. Tensors that are still equal to the row are given
        again, so that the network changes its manifestation fast.
        """
        made = self._copies.get(row)
        if made is None or not made.is_equal(self):
            buffers = [getattr(self, name) for name in self.names]
            # Not for inference alone: the network may be trained later.
            with torch.inference_mode(False):
                copies = [buffer[row].clone() for buffer in buffers]
            made = self._copies[row] = _Copy(
                dict(zip(self.names, copies, strict=True)),
                [copy._version for copy in copies],
                [(buffer, buffer._version) for buffer in buffers],
            )
        return made.tensors

    def __getstate__(self) -> dict[str, Any]:
        # A copied or pickled tensor counts anew how often it is written to.
        return {**self.__dict__, "_copies": {}}

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


NormWithRows = tuple[nn.Module, Rows]


def provide(network: nn.Module, manifestations: Sequence[Manifestation]) -> None:
    """Let every norm of a network keep the statistics of these manifestations, and of no others.

    A new row begins as the one that is nearest in cost, or else as the present statistics. The
    network remembers the manifestations, also if it has no norms.
    """
    manifestations = tuple(manifestations)  # one object in all norms
    setattr(network, TRAINED_IN, manifestations)
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
        found = _with_rows(module)
        _keep(found, before)
        _take(found, after)


def keep(module: nn.Module, manifestation: Manifestation | None) -> None:
    """Put the present statistics of all norms into the row of a manifestation, if they have one."""
    _keep(_with_rows(module), manifestation)


def take(module: nn.Module, manifestation: Manifestation | None) -> None:
    """Let all norms compute with the statistics of a manifestation."""
    _take(_with_rows(module), manifestation)


@torch.no_grad()
def _keep(found: list[NormWithRows], manifestation: Manifestation | None) -> None:
    for norm, rows in found:
        if (norm.training or rows.is_stale) and manifestation in rows.manifestations:
            rows.keep(rows.manifestations.index(manifestation), norm)


@torch.no_grad()
def _take(found: list[NormWithRows], manifestation: Manifestation | None) -> None:
    if manifestation is None:
        return
    nearest: dict[tuple[int, ...], int] = {}  # most norms have the same rows
    for norm, rows in found:
        alike = id(rows.manifestations), *rows.usable
        if alike not in nearest:
            nearest[alike] = rows.nearest(manifestation)
        # Other tensors: a backward pass may still need those that are replaced.
        norm._buffers.update(rows.copy(nearest[alike]))


def _with_rows(module: nn.Module) -> list[NormWithRows]:
    """List the norms within a module that keep statistics of several manifestations."""
    found = ((norm, norm._modules.get(ROWS)) for norm in modules(module))
    return [(norm, rows) for norm, rows in found if isinstance(rows, Rows)]


def rows_of(module: nn.Module) -> Rows | None:
    """Return the rows of a norm; None for other modules, and if it has present statistics alone."""
    rows = getattr(module, ROWS, None) if isinstance(module, NORMS) else None
    return rows if isinstance(rows, Rows) else None


def _log_cost(manifestation: Manifestation) -> float:
    return inf if manifestation.n_f_evals is None else log(manifestation.n_f_evals)
