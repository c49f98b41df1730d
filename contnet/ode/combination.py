"""Sums of modules: what K nodes make up together, given the weight of each.

Parameters are summed by name, so that any module can be a node, and so are the statistics of batch norm. Of a running
variance it is the square root that is summed: the variance of the sum is then a square, whatever signs the weights
have. Every other buffer (a mask, a table of positions) is a constant, and the first node's is used.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

TINY = 1e-30
"""Keeps 0 / 0 away, and is nothing beside the variance of any signal."""


class Combination(nn.Module):
    """The module that the nodes make up together. In training, what its batch norms learn of their input goes back to
    the nodes: a small change of these that brings their sum to its new value, but for what would make a standard
    deviation negative.

    Args:
        nodes: copies of one module.
        weights: of each node.
        nodal: whether nodes are values of theta, so that weights are positive and add up to 1.
    """

    def __init__(
        self, nodes: Iterable[nn.Module], weights: Iterable[float], *, nodal: bool
    ) -> None:
        super().__init__()
        self.nodal = nodal
        self.nodes = nn.ModuleList(nodes)
        # As tensors, since compiled code takes a number for a constant and would be compiled anew for each of them.
        self.weights = [torch.tensor(weight, dtype=torch.float64) for weight in weights]
        self.variances = _variances(self.nodes[0])
        self.learns = True

    def forward(self, x: Tensor) -> Tensor:
        node = self.nodes[0]
        theta = {
            name: weighted_sum(same, self.weights) for name, same in _parameters(self.nodes).items()
        }
        statistics = _statistics(self.nodes)
        with torch.no_grad():
            before = {name: self._value(name, same) for name, same in statistics.items()}
            now = {
                name: value.square() if name in self.variances else value.clone()
                for name, value in before.items()
            }
        result: Tensor = functional_call(node, {**theta, **now}, (x,))
        # Recalibration has the norms alone in training mode.
        if self.learns and any(module.training for module in node.modules()):
            self._learn(statistics, before, now)
        return result

    def _value(self, name: str, same: list[Tensor]) -> Tensor:
        if name in self.variances:
            same = [deviation(variance, nodal=self.nodal) for variance in same]
        return weighted_sum(same, self.weights) if same[0].is_floating_point() else same[0]

    @torch.no_grad()
    def _learn(
        self, statistics: dict[str, list[Tensor]], before: dict[str, Tensor], now: dict[str, Tensor]
    ) -> None:
        for name, same in statistics.items():
            if name in self.variances:
                new = now[name].sqrt().copysign(before[name])
                deviations = [deviation(variance, nodal=self.nodal) for variance in same]
                for buffer, value in zip(
                    same, self._moved(deviations, new - before[name]), strict=True
                ):
                    buffer.copy_(variance_of(value, nodal=self.nodal))
                continue
            change = now[name] - before[name]
            if not change.is_floating_point():
                for buffer in same:
                    buffer += change  # a count
                continue
            for buffer, value in zip(
                same, _moved(same, change, self.weights, [1.0] * len(same)), strict=True
            ):
                buffer.copy_(value)

    def _moved(self, deviations: list[Tensor], change: Tensor) -> list[Tensor]:
        if not self.nodal:
            return _moved(deviations, change, self.weights, [1.0] * len(deviations))
        # Small steps for small nodes, or the sum could only be reached by way of negative ones; where all of them are
        # zero, the same step for each.
        mobility = [value.square() + change.square() + TINY for value in deviations]
        return [value.clamp(min=0) for value in _moved(deviations, change, self.weights, mobility)]


def _moved(
    values: Sequence[Tensor],
    change: Tensor,
    weights: Sequence[Tensor],
    mobility: Sequence[Tensor | float],
) -> list[Tensor]:
    """The values that are nearest to those given, each in units of the square root of its mobility, of all whose
    weighted sum is greater by `change`."""
    reach = sum(m * weight**2 for m, weight in zip(mobility, weights, strict=True))
    return [
        value + change * (m * weight / reach)
        for value, m, weight in zip(values, mobility, weights, strict=True)
    ]


def recombined(
    nodes: nn.ModuleList,
    rows: Sequence[Sequence[tuple[int, float]]],
    *,
    nodal_before: bool,
    nodal: bool,
) -> nn.ModuleList:
    """New nodes, each the sum of old ones that a row gives as (old node, weight), of which a basis may make values of
    theta or not. A node that goes on as it is stays the same module, where it comes first."""
    made: list[nn.Module] = []
    kept: set[int] = set()
    for row in rows:
        (first, weight), *others = row
        same = weight == 1 and not others and nodal_before == nodal
        if same and first not in kept:
            kept.add(first)
            made.append(nodes[first])
            continue
        node = copy.deepcopy(nodes[first])
        made.append(node)
        if not same:
            _set_to_sum(
                node, [nodes[k] for k, _ in row], [weight for _, weight in row], nodal_before, nodal
            )
    return nn.ModuleList(made)


@torch.no_grad()
def _set_to_sum(
    node: nn.Module,
    parts: Sequence[nn.Module],
    weights: Sequence[float],
    nodal_before: bool,
    nodal: bool,
) -> None:
    variances = _variances(node)
    own = {**_parameters([node]), **_statistics([node])}
    for name, same in {**_parameters(parts), **_statistics(parts)}.items():
        if name in variances:
            value = weighted_sum(
                [deviation(variance, nodal=nodal_before) for variance in same], weights
            )
            own[name][0].copy_(variance_of(value, nodal=nodal))
        elif same[0].is_floating_point():
            own[name][0].copy_(weighted_sum(same, weights))


def deviation(variance: Tensor, *, nodal: bool) -> Tensor:
    """What a node has a part in the standard deviation with, from what its batch norms hold as running variance."""
    # Coefficients of a basis that is not nodal may be negative; any real number v - 1/v is that of one v > 0.
    return variance.sqrt() if nodal else variance - 1 / variance


def variance_of(deviation: Tensor, *, nodal: bool) -> Tensor:
    """The inverse of `deviation` for what batch norms hold, which is never negative. A value of theta that would be, as
    a projection of very unequal ones may be, loses its sign."""
    if nodal:
        return deviation.square()
    root = (deviation.square() + 4).sqrt()
    # Two forms of the same number, of which one cancels.
    return torch.where(deviation > 0, (root + deviation) / 2, 2 / (root - deviation))


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """Of the type of the tensors, whatever that of the weights."""
    result = tensors[0] * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        result = result + tensor * weight
    return result.to(tensors[0].dtype)


def _variances(node: nn.Module) -> set[str]:
    """The names of the running variances."""
    return {name for name in _statistics([node]) if name.rpartition(".")[2] == "running_var"}


def _parameters(nodes: Iterable[nn.Module]) -> dict[str, list[Tensor]]:
    """By name, those of each node."""
    return _by_name(node.named_parameters() for node in nodes)


def _statistics(nodes: Iterable[nn.Module]) -> dict[str, list[Tensor]]:
    """By name, what the batch norms of each node have learned of their input."""
    return _by_name(_named_statistics(node) for node in nodes)


def _named_statistics(node: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for norm, module in node.named_modules():
        if isinstance(module, _NormBase):
            yield from (
                (f"{norm}.{name}".removeprefix("."), buffer)
                for name, buffer in module.named_buffers()
            )


def _by_name(named: Iterable[Iterable[tuple[str, Tensor]]]) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for tensors in named:
        for name, tensor in tensors:
            found.setdefault(name, []).append(tensor)
    return found
