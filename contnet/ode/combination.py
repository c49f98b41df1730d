"""Weighted sums of modules: K nodes, copies of one module, act as one module.

Parameters are summed by name, so that any module can be a node. So are the statistics of norms,
except for running variances. Each node's variance is mapped to a coefficient (see `deviation`), the
coefficients are summed, and the variance is the square of the sum. So it is never negative,
whatever the signs of the weights. Every other buffer (a mask, a table of positions) is that of the
first node of the block.
"""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from contnet.ode.alike import summable
from contnet.ode.exchange import evaluate_with
from contnet.ode.norms import named_statistics, present_statistics

TINY = 1e-30
"""Prevents 0 / 0, and is negligible against the variance of any signal."""


class Combination(nn.Module):
    """A weighted sum of nodes, which acts as one module.

    Its parameters and statistics are weighted sums of those of the nodes. In training its norms
    update their running statistics. The nodes then receive the smallest change that brings their
    sum to its new value. A standard deviation that would become negative becomes 0.

    It holds no node: it is given them at each call.

    Args:
        weights: the weight of each node.
        nodal: nodes are values of theta, so weights are positive and add up to 1.
    """

    def __init__(self, weights: Iterable[float], *, nodal: bool) -> None:
        super().__init__()
        self.nodal = nodal
        # Tensors: compiled code treats a number as a constant, and is compiled again for each. Not
        # of inference mode: a block may be trained after it.
        with torch.inference_mode(False):
            self.weights = [
                torch.tensor(weight, dtype=torch.float64, device="cpu") for weight in weights
            ]

    def forward(
        self, nodes: Sequence[nn.Module], x: Tensor, host: nn.Module | None = None
    ) -> Tensor:
        """Return R(x) for the sum of `nodes`: that of `host`, or of the first, with their sum."""
        node = nodes[0] if host is None else host
        theta = {
            name: weighted_sum(same, self.weights)
            for name, same in _parameters(nodes).items()
            if summable(same[0])
        }
        statistics = _by_name(present_statistics(node) for node in nodes)
        with torch.no_grad():
            before = {name: self._value(name, same) for name, same in statistics.items()}
            now = {
                name: value.square() if _is_variance(name) else value.clone()
                for name, value in before.items()
            }
        result = evaluate_with(node, {**theta, **now}, x)
        # Recalibration puts the norms alone in training mode.
        if any(module.training for module in node.modules()):
            self._learn(statistics, before, now)
        return result

    def _value(self, name: str, same: list[Tensor]) -> Tensor:
        if _is_variance(name):
            same = [deviation(variance, nodal=self.nodal) for variance in same]
        return weighted_sum(same, self.weights) if summable(same[0]) else same[0]

    @torch.no_grad()
    def _learn(
        self, statistics: dict[str, list[Tensor]], before: dict[str, Tensor], now: dict[str, Tensor]
    ) -> None:
        for name, same in statistics.items():
            if _is_variance(name):
                new = now[name].sqrt().copysign(before[name])
                deviations = [deviation(variance, nodal=self.nodal) for variance in same]
                for buffer, value in zip(
                    same, self._moved(deviations, new - before[name]), strict=True
                ):
                    buffer.copy_(variance_of(value, nodal=self.nodal))
                continue
            change = now[name] - before[name]
            if not summable(change):
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
        # Small deviations move little: otherwise some would have to become negative to reach the
        # sum. If all are zero, all move equally.
        mobility = [value.square() + change.square() + TINY for value in deviations]
        return [value.clamp(min=0) for value in _moved(deviations, change, self.weights, mobility)]


class Combined:
    """R(. ; theta) of a weighted sum of `nodes`, which `host` evaluates."""

    def __init__(
        self, combination: Combination, nodes: Sequence[nn.Module], host: nn.Module
    ) -> None:
        self.combination = combination
        self.nodes = nodes
        self.host = host

    def __call__(self, x: Tensor) -> Tensor:
        result: Tensor = self.combination(self.nodes, x, self.host)
        return result


def _moved(
    values: Sequence[Tensor],
    change: Tensor,
    weights: Sequence[Tensor],
    mobility: Sequence[Tensor | float],
) -> list[Tensor]:
    """Return the nearest values whose weighted sum is greater by `change`.

    Distances are measured in units of the square root of each value's mobility.
    """
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
    """Return new nodes: each is the weighted sum of the pairs (old node, weight) in its row.

    A node that continues unchanged remains the same module, in the first row that names it.

    Args:
        nodes: the old nodes.
        rows: a row for each new node.
        nodal_before: the old nodes are values of theta.
        nodal: the new nodes are values of theta.
    """
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
    statistics = _statistics([node])
    own = {**_parameters([node]), **statistics}
    for name, same in {**_parameters(parts), **_statistics(parts)}.items():
        if name in statistics and _is_variance(name):
            value = weighted_sum(
                [deviation(variance, nodal=nodal_before) for variance in same], weights
            )
            own[name][0].copy_(variance_of(value, nodal=nodal))
        elif summable(same[0]):
            own[name][0].copy_(weighted_sum(same, weights))


def deviation(variance: Tensor, *, nodal: bool) -> Tensor:
    """Map a node's running variance to the coefficient that the basis combines.

    It is the standard deviation s = sqrt(v) in a nodal basis, and v - 1/v in others.
    """
    # Coefficients of a basis that is not nodal may be negative; v - 1/v maps v > 0 onto all reals.
    return variance.sqrt() if nodal else variance - 1 / variance


def variance_of(deviation: Tensor, *, nodal: bool) -> Tensor:
    """Map a coefficient back to the running variance of a node: the inverse of `deviation`.

    In a nodal basis a negative coefficient loses its sign. Only a projection of very unequal nodes
    gives one.
    """
    if nodal:
        return deviation.square()
    root = (deviation.square() + 4).sqrt()
    # The two forms are equal; each is used where its terms do not cancel.
    return torch.where(deviation > 0, (root + deviation) / 2, 2 / (root - deviation))


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """Return the sum of tensors times weights, in the data type of the tensors."""
    result = tensors[0] * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        result = result + tensor * weight
    return result.to(tensors[0].dtype)


def _is_variance(name: str) -> bool:
    """Return True if a statistic is a running variance."""
    return name.rpartition(".")[2] == "running_var"


def _parameters(nodes: Iterable[nn.Module]) -> dict[str, list[Tensor]]:
    """Group the nodes' parameters by name."""
    return _by_name(node.named_parameters() for node in nodes)


def _statistics(nodes: Iterable[nn.Module]) -> dict[str, list[Tensor]]:
    """Group all running statistics of the nodes' norms by name."""
    return _by_name(named_statistics(node) for node in nodes)


def _by_name(named: Iterable[Iterable[tuple[str, Tensor]]]) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for tensors in named:
        for name, tensor in tensors:
            found.setdefault(name, []).append(tensor)
    return found
