"""A run of residual units as an ordinary differential equation."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from contnet import arguments
from contnet.ode.bases import PiecewiseConstant, make_basis
from contnet.ode.basis import Basis, Weights, in_basis, projection
from contnet.ode.gradient import GRADIENTS, check_adjoint, checkpointed, integrate_with_adjoint
from contnet.ode.integrate import FixedGrid, fixed_grid, integrate_adaptively
from contnet.ode.schemes import AdaptiveScheme, Scheme, find_scheme

Origin = tuple[nn.Parameter, list[tuple[nn.Parameter, float]]]
"""A new parameter, and the pairs (old parameter, weight) whose weighted sum it is."""


class ODEBlock(nn.Module):
    """x(0) -> x(1) under dx/dt = epsilon R(x; theta(t)) (Queiruga et al. 2020, equation 4).

    The weights theta(t) are made of `n_basis` ordinary modules, the *nodes*. With the default basis
    each node holds on one of K equal intervals of depth-time. Scheme and number of steps are
    settings, not weights: `set_manifestation` changes them on a trained block.

    Args:
        rate: makes one node: any module that maps a state to a tensor of the same shape.
        n_basis: number of nodes K.
        n_time_steps: equal steps over [0, 1]; K by default. Adaptive schemes choose their own.
        scheme: a name in `SCHEMES` or `ADAPTIVE_SCHEMES`, or a scheme as an object.
        epsilon: factor of the rate. With Euler and epsilon = n_time_steps = K the block is a plain
            stack of x + R(x).
        rtol, atol: tolerances of an adaptive scheme.
        gradient: `backprop`, `checkpoint` or `adjoint`: see `contnet.ode.gradient`.
        basis: a name in `BASES`: see `contnet.ode.bases`. The modules of `rate` are the nodes of a
            nodal basis. Others have them, as values of theta on K equal intervals, projected.

    Raises:
        ValueError: if an argument is out of range, the scheme or the basis is unknown, or
            `gradient` does not work with them.
    """

    def __init__(
        self,
        rate: Callable[[], nn.Module],
        n_basis: int = 1,
        n_time_steps: int | None = None,
        scheme: str | Scheme | AdaptiveScheme = "euler",
        epsilon: float = 1.0,
        rtol: float | None = None,
        atol: float | None = None,
        gradient: str = "backprop",
        basis: str = "piecewise_constant",
    ) -> None:
        super().__init__()
        self.gradient = arguments.one_of("gradient", gradient, GRADIENTS)
        self.epsilon = arguments.number("epsilon", epsilon, minimum=0, exclusive=True)
        self.n_refined = 0
        self._step = FixedGrid.step
        intervals, target = PiecewiseConstant(n_basis), make_basis(basis, n_basis)
        nodes = nn.ModuleList(rate() for _ in range(n_basis))
        if not target.nodal:
            nodes = in_basis(nodes, intervals, target, projection(intervals, target))
        self._arrange(
            target,
            nodes,
            find_scheme(scheme, rtol, atol) if isinstance(scheme, str) else scheme,
            n_basis if n_time_steps is None else n_time_steps,
        )

    def _arrange(
        self,
        basis: Basis,
        nodes: nn.ModuleList,
        scheme: Scheme | AdaptiveScheme,
        n_time_steps: int,
    ) -> None:
        """Check the settings and prepare the steps: the only place where settings change."""
        arguments.integer("n_time_steps", n_time_steps, minimum=1)
        if self.gradient == "adjoint":
            check_adjoint(scheme, basis, n_time_steps)
        self.basis, self.nodes = basis, nodes
        self.scheme, self.n_time_steps = scheme, n_time_steps
        self._n_f_evals = 0
        if isinstance(scheme, Scheme):
            self._grid = fixed_grid(scheme, n_time_steps, basis, self.epsilon)
            self._n_f_evals = self._grid.n_f_evals
            thetas = {theta for step in self._grid.thetas for theta in step if basis.combines}
            # Not among the submodules: they have no parameters of their own.
            self._combinations = {theta: basis.rate(nodes, theta) for theta in thetas}

    def set_manifestation(
        self,
        scheme: str | Scheme | AdaptiveScheme | None = None,
        n_time_steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> None:
        """Choose the scheme and the number of steps that compute x(1), without changing a weight.

        A setting that is not given stays as it is. `rtol` and `atol` apply only if `scheme` is the
        name of an adaptive scheme.

        Raises:
            ValueError: if the constructor would refuse the settings; the block is then unchanged.
        """
        if isinstance(scheme, str):
            scheme = find_scheme(scheme, rtol, atol)
        self._arrange(
            self.basis,
            self.nodes,
            self.scheme if scheme is None else scheme,
            self.n_time_steps if n_time_steps is None else n_time_steps,
        )

    def refine(self) -> list[Origin]:
        """Change to the next finer basis and double the steps, with theta(t) unchanged.

        x(1) changes only because the scheme's error does. A node that continues unchanged remains
        the same module.

        Returns:
            The origin of each parameter as (new, [(old, weight), ...]): the new parameter is the
            sum of the old ones. They come in the order of `nodes.parameters()`.
        """
        old_parameters = [list(node.parameters()) for node in self.nodes]
        finer, rows = self.basis.refine()
        nodes = in_basis(self.nodes, self.basis, finer, rows)
        self._arrange(finer, nodes, self.scheme, 2 * self.n_time_steps)
        self.n_refined += 1
        return [
            (parameter, [(old_parameters[k][i], float(weight)) for k, weight in row])
            for node, row in zip(nodes, rows, strict=True)
            for i, parameter in enumerate(node.parameters())
        ]

    def project(self, n_basis: int, basis: str | None = None) -> None:
        """Replace theta(t) by its projection onto another basis; the number of steps stays.

        The projection is the theta(t) of the new basis that is nearest in the mean square over
        [0, 1], and equal where the new basis can represent it. Batch norms are projected by their
        means and standard deviations. A standard deviation that comes out negative changes its
        sign.

        Raises:
            ValueError: if there is no such basis, or `gradient` does not work with it.
        """
        target = make_basis(self.basis.name if basis is None else basis, n_basis)
        nodes = in_basis(self.nodes, self.basis, target, projection(self.basis, target))
        self._arrange(target, nodes, self.scheme, self.n_time_steps)

    def resize(self, basis: str, n_basis: int, n_time_steps: int) -> None:
        """Replace the nodes by those of another basis, into which weights can then be loaded.

        Raises:
            ValueError: if there is no such basis, or `gradient` does not work with it.
        """
        nodes = nn.ModuleList(copy.deepcopy(self.nodes[0]) for _ in range(n_basis))
        self._arrange(make_basis(basis, n_basis), nodes, self.scheme, n_time_steps)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile one step for all steps and nodes, with the arguments of `torch.compile`.

        A deeper block then takes no longer to compile. The rates are compiled instead of the step
        if torchdiffeq takes the steps, or if theta is a sum of nodes.
        """
        takes_steps = isinstance(self.scheme, Scheme) and self.gradient != "adjoint"
        if takes_steps and not self.basis.combines:
            self._step = torch.compile(FixedGrid.step, *args, **options)
            return
        for rate in self._combinations.values() if takes_steps else self.nodes:
            rate.compile(*args, **options)

    @property
    def n_basis(self) -> int:
        """Number of nodes K."""
        return self.basis.n_basis

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations of the last forward pass.

        Before the first pass, a fixed-step scheme has its number already; an adaptive one has 0.
        """
        return self._n_f_evals

    @property
    def unvisited(self) -> list[int]:
        """Nodes that no stage of a fixed-step scheme looks up; they do not learn."""
        if not isinstance(self.scheme, Scheme):
            return []
        visited = {k for step in self._grid.thetas for theta in step for k, _ in theta}
        return [k for k in range(self.n_basis) if k not in visited]

    def forward(self, x: Tensor) -> Tensor:
        """Return x(1), of the shape of x = x(0)."""
        for state in self._states(x):
            x = state
        return x

    def trajectory(self, x: Tensor) -> Tensor:
        """Return the states after 0, 1, ... n_time_steps steps, (n_time_steps + 1, *x.shape).

        An adaptive scheme returns the states at the borders of theta's elements,
        (basis.n_elements + 1, *x.shape). So does `adjoint` while gradients are enabled.
        """
        return torch.stack([x, *self._states(x)])

    def _states(self, x: Tensor) -> Iterator[Tensor]:
        # Under autocast the state would have 16 bits, too few to add up many small increments.
        if torch.is_autocast_enabled(x.device.type):
            x = x.float()
        needs_gradient = torch.is_grad_enabled()
        if isinstance(self.scheme, Scheme) and not (needs_gradient and self.gradient == "adjoint"):
            for thetas in self._grid.thetas:
                rates = [self._rate(theta) for theta in thetas]
                if needs_gradient and self.gradient == "checkpoint":
                    x = checkpointed(partial(self._step, self._grid), rates, x)
                else:
                    x = self._step(self._grid, rates, x)
                yield x
            return
        n_f_evals = 0
        for element in range(self.basis.n_elements):
            x, n = self._through(element, x)
            n_f_evals += n
            yield x
        self._n_f_evals = n_f_evals

    def _rate(self, theta: Weights) -> nn.Module:
        return (
            self._combinations[theta] if self.basis.combines else self.basis.rate(self.nodes, theta)
        )

    def _through(self, element: int, x: Tensor) -> tuple[Tensor, int]:
        interval = self.basis.intervals[element]
        rate_at = self.basis.rate_on(self.nodes, element)
        if self.gradient == "adjoint" and torch.is_grad_enabled():
            n = self.n_time_steps // self.n_basis
            (k,) = self.basis.functions(element)
            return integrate_with_adjoint(self.scheme, self.nodes[k], interval, n, self.epsilon, x)
        assert isinstance(self.scheme, AdaptiveScheme)
        return integrate_adaptively(self.scheme, rate_at, interval, self.epsilon, x)

    def extra_repr(self) -> str:
        settings = f"scheme={self.scheme.name}, {self.basis}, n_time_steps={self.n_time_steps}"
        return f"{settings}, epsilon={self.epsilon:g}"
