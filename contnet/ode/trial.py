"""What an ODE block has seen of its nodes, so that it checks them once and not at every step."""

from collections.abc import Hashable, Iterator

import torch
from torch import Tensor, nn

from contnet.ode.alike import check_alike, named_constants
from contnet.ode.basis import Basis


class Trial:
    """Remembers which nodes have been checked, and the shapes of the states that they keep.

    Nodes may be replaced, pruned or loaded at any time. They are recognised by the modules that
    they are made of, and where a basis sums them also by the names and shapes of their parameters
    and by the buffers that it cannot sum.
    """

    def __init__(self) -> None:
        self.seen: list[Hashable] = []
        self.shapes: set[torch.Size] = set()

    def __reduce__(self) -> tuple[type["Trial"], tuple[()]]:
        return Trial, ()  # a copy of the block has other modules, which it has not seen

    def begin(self, nodes: nn.ModuleList, basis: Basis, shape: torch.Size) -> bool:
        """Look at the nodes before a pass; return True if it must check its rates.

        It must once for each shape of the state.

        Raises:
            ValueError: if there are not as many nodes as the basis has, or it cannot sum them.
        """
        if torch.compiler.is_compiling():
            return True  # compiled code repeats no check
        seen = list(_marks(nodes) if basis.combines else nodes)
        if seen != self.seen:
            if len(nodes) != basis.n_basis:
                raise ValueError(
                    f"nodes must be {basis.n_basis} with the basis {basis.name}, got {len(nodes)}"
                )
            if basis.combines:
                check_alike(list(nodes), basis.name)
            self.seen, self.shapes = seen, set()
        return shape not in self.shapes

    def end(self, nodes: nn.ModuleList, basis: Basis, shape: torch.Size) -> None:
        """Remember that all rates of a pass have kept the shape of the state.

        Buffers that the rate itself has updated are the first node's: the other nodes follow.
        """
        if torch.compiler.is_compiling():
            return
        self.shapes.add(shape)
        updates = basis.combines and host_of(nodes) is not None
        if updates and list(_marks(nodes)) != self.seen:
            _follow(nodes)
            self.seen = list(_marks(nodes))


def host_of(nodes: nn.ModuleList) -> nn.Module | None:
    """Return the node that evaluates all sums of nodes: the first, if it holds what is not summed.

    Its buffers are then those of the block, whichever nodes are summed. Nodes without such buffers
    need no host: code is compiled once for sums with their host among them, and once for others.
    """
    return nodes[0] if any(True for _ in named_constants(nodes[0])) else None


class _Mark:
    """A tensor as it is now: equal to itself as long as it is not changed in place."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.version = -1 if tensor.is_inference() else tensor._version

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Mark)
            and other.tensor is self.tensor
            and other.version == self.version
        )

    def __hash__(self) -> int:
        return id(self.tensor)


def _marks(nodes: nn.ModuleList) -> Iterator[Hashable]:
    """Yield what the check of nodes depends on."""
    for node in nodes:
        yield from node.modules()
        for name, parameter in node.named_parameters():
            yield name, parameter.shape
        for name, constant in named_constants(node):
            yield name, _Mark(constant)


@torch.no_grad()
def _follow(nodes: nn.ModuleList) -> None:
    """Copy the buffers that are not summed from the first node to the others."""
    constants = dict(named_constants(nodes[0]))
    for node in list(nodes)[1:]:
        for name, constant in named_constants(node):
            if constant is not constants[name]:
                constant.copy_(constants[name])
