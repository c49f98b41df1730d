"""A run of residual units as an ordinary differential equation."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from contnet import arguments
from contnet.ode.basis import Basis, PiecewiseConstant, Row, Weights, make_basis, projection
from contnet.ode.combination import recombined
from contnet.ode.gradient import GRADIENTS, WITH_ADJOINT, checkpointed, integrate_with_adjoint
from contnet.ode.integrate import FixedGrid, fixed_grid, integrate_adaptively
from contnet.ode.schemes import AdaptiveScheme, Scheme, find_scheme

Origin = tuple[nn.Parameter, list[tuple[nn.Parameter, float]]]
"""A parameter, and the older ones that it is the sum of, each with its weight."""


class ODEBlock(nn.Module):
    """x(0) -> x(1) under dx/dt = epsilon R(x; theta(t)) (Queiruga et al. 2020, equation 4).

    The weights theta(t) are made of `n_basis` ordinary modules, the *nodes*; with the default basis there is one for
    each of as many equal intervals of depth-time. Scheme and number of steps are settings, not weights:
    `set_manifestation` changes them on a trained block.

    Args:
        rate: makes one node; any module that maps a state to a tensor of the same shape.
        n_basis: number of nodes K.
        n_time_steps: equal steps over t in [0, 1]; K unless given. Adaptive schemes choose their own.
        scheme: a name from `SCHEMES` or `ADAPTIVE_SCHEMES`, or a `Scheme` of one's own.
        epsilon: factor of the rate; with Euler and epsilon = n_time_steps = K the block is a plain stack of x + R(x).
        rtol, atol: tolerances of an adaptive scheme.
        gradient: `backprop`, `checkpoint` or `adjoint`: see `contnet.gradient`.
        basis: a name from `BASES`: see `contnet.basis`.

    Raises:
        ValueError: if an argument is out of range or the scheme unknown.
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
        self.basis: Basis = PiecewiseConstant(n_basis)
        self.nodes = nn.ModuleList(rate() for _ in range(n_basis))
        self.epsilon = arguments.number("epsilon", epsilon, minimum=0, exclusive=True)
        self._step = FixedGrid.step
        self.set_manifestation(
            scheme, n_basis if n_time_steps is None else n_time_steps, rtol, atol
        )
        self.start_in_basis(basis)

    def start_in_basis(self, name: str) -> None:
        """Take the K fresh nodes of a block for the values of theta on K intervals, and go over to another basis: in a
        nodal one they stay what they are, else they become its coefficients."""
        basis = make_basis(name, self.n_basis)
        self._check_adjoint(basis)
        if basis.nodal:
            self.basis = basis
        else:
            self._go_over_to(basis, projection(self.basis, basis))
        self.set_manifestation()

    def _go_over_to(self, basis: Basis, rows: Sequence[Row]) -> None:
        """Have nodes in another basis, each the sum of present ones that a row says."""
        weighted = [[(k, float(weight)) for k, weight in row] for row in rows]
        self.nodes = recombined(
            self.nodes, weighted, nodal_before=self.basis.nodal, nodal=basis.nodal
        )
        self.basis = basis

    def set_manifestation(
        self,
        scheme: str | Scheme | AdaptiveScheme | None = None,
        n_time_steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> None:
        """Choose the graph that computes x(1); what is not given stays as it is, and no weight changes."""
        if isinstance(scheme, str):
            scheme = find_scheme(scheme, rtol, atol)
        if scheme is not None:
            self.scheme = scheme
        if n_time_steps is not None:
            self.n_time_steps = arguments.integer("n_time_steps", n_time_steps, minimum=1)
        self._n_f_evals = 0
        if isinstance(self.scheme, Scheme):
            self._grid = fixed_grid(self.scheme, self.n_time_steps, self.basis, self.epsilon)
            self._n_f_evals = self._grid.n_f_evals
            thetas = {theta for step in self._grid.thetas for theta in step if self.basis.combines}
            # Not among the submodules: they have no parameters of their own.
            self._combinations = {theta: self.basis.rate(self.nodes, theta) for theta in thetas}

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile one step for all steps and nodes, with the arguments of `torch.compile`, so that depth costs no
        compilation. Where torchdiffeq takes the steps, or they differ in which nodes make up theta at their stages, the
        rate is compiled instead."""
        takes_steps = isinstance(self.scheme, Scheme) and self.gradient != "adjoint"
        if takes_steps and not self.basis.combines:
            self._step = torch.compile(FixedGrid.step, *args, **options)
            return
        for rate in self._combinations.values() if takes_steps else self.nodes:
            rate.compile(*args, **options)

    def _check_adjoint(self, basis: Basis) -> None:
        if self.gradient != "adjoint":
            return
        if basis.name != PiecewiseConstant.name:
            raise ValueError(
                f"gradient must be backprop or checkpoint with the basis {basis.name}, got 'adjoint'"
            )
        if not isinstance(self.scheme, Scheme):
            return
        if self.n_time_steps % basis.n_basis:
            raise ValueError(
                f"n_time_steps must be a multiple of n_basis for gradient=adjoint, got {self.n_time_steps}"
            )
        if self.scheme.name not in WITH_ADJOINT:
            raise ValueError(
                f"gradient must be backprop or checkpoint for {self.scheme.name}; adjoint has torchdiffeq's schemes, "
                f"{', '.join(WITH_ADJOINT)} and the adaptive ones"
            )

    def refine(self) -> list[Origin]:
        """The next finer basis and twice the steps for the same theta(t): x(1) moves by the scheme's error alone.

        Returns where each parameter comes from, as (new, [(old, weight), ..]): it is the sum of old ones, in the order
        of `nodes.parameters()`. A node that goes on as it is remains the same module.
        """
        old_parameters = [list(node.parameters()) for node in self.nodes]
        finer, rows = self.basis.refine()
        self._go_over_to(finer, rows)
        self.set_manifestation(n_time_steps=2 * self.n_time_steps)
        return [
            (parameter, [(old_parameters[k][i], float(weight)) for k, weight in row])
            for node, row in zip(self.nodes, rows, strict=True)
            for i, parameter in enumerate(node.parameters())
        ]

    def project(self, n_basis: int, basis: str | None = None) -> None:
        """Go over to the theta(t) of another basis that is nearest to this one's in the mean square over [0, 1], which
        is this one's where the other basis holds it. The steps stay as they are. Batch norms come along with their
        means and standard deviations; where one of these would be negative, it changes its sign.

        Raises:
            ValueError: if there is no such basis, or `gradient` cannot do with it.
        """
        target = make_basis(self.basis.name if basis is None else basis, n_basis)
        self._check_adjoint(target)
        self._go_over_to(target, projection(self.basis, target))
        self.set_manifestation()

    def make_room(self, basis: str, n_basis: int, n_time_steps: int) -> None:
        """Nodes of another basis, for weights that are about to be loaded into them.

        Raises:
            ValueError: if `gradient` cannot do with it.
        """
        self.basis = make_basis(basis, n_basis)
        self.nodes = nn.ModuleList(copy.deepcopy(self.nodes[0]) for _ in range(n_basis))
        self.set_manifestation(n_time_steps=n_time_steps)
        self._check_adjoint(self.basis)

    @property
    def n_basis(self) -> int:
        """Number of nodes K."""
        return self.basis.n_basis

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations of the last forward pass (fixed step: of every one; adaptive: 0 before the first)."""
        return self._n_f_evals

    @property
    def unvisited(self) -> list[int]:
        """Nodes that no stage of a fixed-step scheme looks up, so that they do not learn."""
        if not isinstance(self.scheme, Scheme):
            return []
        visited = {k for step in self._grid.thetas for theta in step for k, _ in theta}
        return [k for k in range(self.n_basis) if k not in visited]

    def forward(self, x: Tensor) -> Tensor:
        """x(1), of the shape of x = x(0)."""
        for state in self._states(x):
            x = state
        return x

    def trajectory(self, x: Tensor) -> Tensor:
        """The states after 0, 1, .. n_time_steps steps, (n_time_steps + 1, *x.shape); an adaptive scheme gives them at
        the borders of theta's elements, (basis.n_elements + 1, *x.shape)."""
        return torch.stack([x, *self._states(x)])

    def _states(self, x: Tensor) -> Iterator[Tensor]:
        # Autocast would hand on a state in 16 bits, where adding up many small increments loses them.
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
            n_steps = self.n_time_steps // self.n_basis
            (rate,) = self.basis.functions(element)
            return integrate_with_adjoint(
                self.scheme, self.nodes[rate], interval, n_steps, self.epsilon, x
            )
        assert isinstance(self.scheme, AdaptiveScheme)
        return integrate_adaptively(self.scheme, rate_at, interval, self.epsilon, x)

    def extra_repr(self) -> str:
        settings = f"scheme={self.scheme.name}, {self.basis}, n_time_steps={self.n_time_steps}"
        return f"{settings}, epsilon={self.epsilon:g}"
