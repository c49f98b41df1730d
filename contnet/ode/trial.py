"""What an ODE block has seen of its nodes, so that it looks at them once and not at every step."""

import torch
from torch import nn

from contnet.ode.alike import check_alike
from contnet.ode.basis import Basis


class Trial:
    """Remembers which nodes have been checked, and the shapes of the states that they keep.

    Nodes may be replaced at any time. They are recognised by the modules that they are made of.
    """

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []
        self.shapes: set[torch.Size] = set()

    def begin(self, nodes: nn.ModuleList, basis: Basis, shape: torch.Size) -> bool:
        """Look at the nodes before a pass; return True if it must check the shapes of rates.

        It must once for each shape of the state.

        Raises:
            ValueError: if there are not as many nodes as the basis has, or it cannot sum them.
        """
        if torch.compiler.is_compiling():
            return True  # compiled code repeats no check
        modules = list(nodes.modules() if basis.combines else nodes)
        if modules != self.modules:
            if len(nodes) != basis.n_basis:
                raise ValueError(
                    f"nodes must be {basis.n_basis} with the basis {basis.name}, got {len(nodes)}"
                )
            if basis.combines:
                check_alike(list(nodes), basis.name)
            self.modules, self.shapes = modules, set()
        return shape not in self.shapes

    def passed(self, shape: torch.Size) -> None:
        """Remember that all rates of a pass have kept the shape of the state."""
        if not torch.compiler.is_compiling():
            self.shapes.add(shape)
