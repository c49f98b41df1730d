"""A run of residual units as an ordinary differential equation."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from contnet.ode import statistics
from contnet.ode.adaptive import Effort
from contnet.ode.bases import PiecewiseConstant, make_basis
from contnet.ode.basis import Basis, in_basis, projection
from contnet.ode.integrate import FixedGrid
from contnet.ode.passages import Passages
from contnet.ode.refinement import Origin, Refinement, with_eps_of
from contnet.ode.schemes import AdaptiveScheme, Scheme, find_scheme, with_tolerances
from contnet.ode.settings import Settings


class ODEBlock(nn.Module):
    """x(0) -> x(1) under dx/dt = epsilon R(x; theta(t)) (Queiruga et al. 2020, equation 4).

    The weights theta(t) are made of `n_basis` ordinary modules, the *nodes*. With the default basis
    each node holds on one of K equal intervals of depth-time. Scheme and number of steps are
    settings, not weights: `set_manifestation` changes them on a trained block.

    Args:
        rate: makes one node: any module that maps a state to a tensor of the same shape.
        n_basis: number of nodes K.
        n_time_steps: equal steps over [0, 1]; K by default. Adaptive schemes choose their own.
        scheme: a name in `SCHEMES` or `ADAPTIVE_SCHEMES`, `torchdiffeq/` with the name of a solver
            there, or a scheme as an object.
        epsilon: factor of the rate. With Euler and epsilon = n_time_steps = K the block is a plain
            stack of x + R(x).
        rtol, atol, max_num_steps, control: of an adaptive scheme, in place of its own: see
            `AdaptiveScheme`.
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
        max_num_steps: int | None = None,
        control: str | None = None,
    ) -> None:
        super().__init__()
        self.refined_by = self.grown_by = 1
        self._epsilon = epsilon
        intervals, target = PiecewiseConstant(n_basis), make_basis(basis, n_basis)
        found = find_scheme(scheme) if isinstance(scheme, str) else scheme
        settings = Settings(
            target,
            with_tolerances(found, rtol, atol, max_num_steps, control),
            n_basis if n_time_steps is None else n_time_steps,
            epsilon,
            gradient,
        )
        self._passages = Passages()
        self._passage = self._passages.of(settings)
        nodes = nn.ModuleList(rate() for _ in range(n_basis))
        if not target.nodal:
            nodes = in_basis(nodes, intervals, target, projection(intervals, target))
        self.nodes = nodes

    def _arrange(self, settings: Settings, nodes: nn.ModuleList) -> None:
        """Take over settings and nodes: the only place where settings change."""
        self._passage, self.nodes = self._passages.of(settings), nodes

    def set_manifestation(
        self,
        scheme: str | Scheme | AdaptiveScheme | None = None,
        n_time_steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> None:
        """Choose the scheme and the number of steps that compute x(1), without changing a weight.

        A setting that is not given stays as it is; `rtol` and `atol` are of adaptive schemes, and
        another scheme by name begins with its own.

        Raises:
            ValueError: if the constructor would refuse the settings; the block is then unchanged.
        """
        before = self.settings
        self.adopt(before.manifested(scheme, n_time_steps, rtol, atol))
        statistics.exchange(self.nodes, before.manifestation, self.settings.manifestation)

    def adopt(self, settings: Settings) -> None:
        """Change to settings with the same basis; norms keep their present statistics."""
        self._arrange(settings, self.nodes)

    def refine(self, n_basis: int | None = None, *, grow: bool = False) -> list[Origin]:
        """Change to a finer basis and multiply the steps likewise, with theta(t) unchanged.

        x(1) changes only because the scheme's error does. A node that continues unchanged remains
        the same module.

        Args:
            n_basis: number of nodes; by default that of the next finer basis, with twice the steps.
            grow: multiply epsilon like the steps, and divide the rates by the same, by their
                weights (see `contnet.ode.rescaling`). The function remains, and the block has the
                parameters of one that was built with so many nodes.

        Returns:
            The origin of each parameter as (new, [(old, weight), ...]): the new parameter is the
            sum of the old ones. They come in the order of `nodes.parameters()`.

        Raises:
            ValueError: if the fineness of that basis is no multiple of the present one's, or a rate
                that is to grow has no last affine map. The block is then unchanged.
        """
        refinement = Refinement.of(self.basis, self.nodes[0], n_basis, grow=grow)
        statistics.keep(self.nodes, self.settings.manifestation)
        nodes, origins = refinement.apply(self.nodes)
        settings = replace(
            self.settings,
            basis=refinement.new,
            n_time_steps=self.n_time_steps * refinement.factor,
            epsilon=self._epsilon * self.grown_by * refinement.growth,
        )
        self._arrange(settings, nodes)
        statistics.take(nodes, settings.manifestation)
        self.refined_by *= refinement.factor
        self.grown_by *= refinement.growth
        return origins

    def project(self, n_basis: int, basis: str | None = None) -> None:
        """Replace theta(t) by its projection onto another basis; the number of steps stays.

        The projection is the theta(t) of the new basis that is nearest in the mean square over
        [0, 1], and equal where the new basis can represent it. Batch norms are projected by their
        means and standard deviations. A standard deviation that comes out negative changes its
        sign.

        Raises:
            ValueError: if there is no such basis, `gradient` does not work with it, or the nodes
                hold weights that cannot be summed.
        """
        target = make_basis(self.basis.name if basis is None else basis, n_basis)
        settings = replace(self.settings, basis=target)
        nodes = in_basis(self.nodes, self.basis, target, projection(self.basis, target))
        for node in nodes:
            with_eps_of(node, self.basis, self.grown_by, target, self.grown_by)
        self._arrange(settings, nodes)

    def resize(
        self, basis: str, n_basis: int, n_time_steps: int, refined_by: int = 1, grown_by: int = 1
    ) -> None:
        """Replace the nodes by those of another basis, into which weights can then be loaded.

        Args:
            basis: a name in `BASES`.
            n_basis: number of nodes.
            n_time_steps: equal steps over [0, 1].
            refined_by: the factor by which refinements have multiplied the steps.
            grown_by: the factor by which they have multiplied epsilon.

        Raises:
            ValueError: if there is no such basis, or `gradient` does not work with it.
        """
        target = make_basis(basis, n_basis)
        epsilon = self._epsilon * grown_by
        settings = replace(self.settings, basis=target, n_time_steps=n_time_steps, epsilon=epsilon)
        node = with_eps_of(self.nodes[0], self.basis, self.grown_by, target, grown_by)
        self._arrange(settings, nn.ModuleList(copy.deepcopy(node) for _ in range(n_basis)))
        self.refined_by, self.grown_by = refined_by, grown_by

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile one step for all steps and nodes, with the arguments of `torch.compile`.

        A deeper block then takes no longer to compile. The rates are compiled instead of the step
        if torchdiffeq takes the steps, or if theta is a sum of nodes.
        """
        passage = self._passage
        takes_steps = passage.grid is not None and self.gradient != "adjoint"
        if takes_steps and not self.basis.combines:
            self._passages = Passages(torch.compile(FixedGrid.step, *args, **options))
            self._passage = self._passages.of(self.settings)
            return
        for rate in passage.combinations.values() if takes_steps else self.nodes:
            rate.compile(*args, **options)

    @property
    def settings(self) -> Settings:
        """All settings, which are changed by `set_manifestation` and `adopt`."""
        return self._passage.settings

    @property
    def scheme(self) -> Scheme | AdaptiveScheme:
        """The scheme that integrates the block."""
        return self.settings.scheme

    @property
    def n_time_steps(self) -> int:
        """Equal steps over [0, 1] that a scheme with fixed steps takes."""
        return self.settings.n_time_steps

    @property
    def basis(self) -> Basis:
        """The basis of theta(t)."""
        return self.settings.basis

    @property
    def epsilon(self) -> float:
        """Factor of the rate."""
        return self.settings.epsilon

    @property
    def gradient(self) -> str:
        """How the gradient is computed. A gradient that does not suit the block is refused."""
        return self.settings.gradient

    @gradient.setter
    def gradient(self, gradient: str) -> None:
        self.adopt(replace(self.settings, gradient=gradient))

    @property
    def n_basis(self) -> int:
        """Number of nodes K."""
        return self.basis.n_basis

    @property
    def n_f_evals(self) -> int:
        """Rate evaluations of the last forward pass.

        Before the first pass, a fixed-step scheme has its number already; an adaptive one has 0.
        """
        return self.effort.n_f_evals

    @property
    def effort(self) -> Effort:
        """What the last forward pass has cost: rate evaluations, and steps of an embedded pair."""
        return self._passage.effort

    @property
    def unvisited(self) -> list[int]:
        """Nodes that no stage of a fixed-step scheme looks up; they do not learn."""
        grid = self._passage.grid
        if grid is None:
            return []
        visited = {k for step in grid.thetas for theta in step for k, _ in theta}
        return [k for k in range(self.n_basis) if k not in visited]

    def forward(self, x: Tensor) -> Tensor:
        """Return x(1), of the shape and type of x = x(0).

        Under autocast a state of 16 bits becomes one of 32. Adaptive schemes compute with 32 bits
        or more, and evaluate the rate in the type of x.

        Raises:
            ValueError: if a rate does not keep the shape of its input, or nodes cannot be summed.
            IntegrationError: if an adaptive scheme fails.
        """
        for state in self._passage.states(self.nodes, x):
            x = state
        return x

    def trajectory(self, x: Tensor, times: Iterable[float] | None = None) -> Tensor:
        """Return the states after 0, 1, ... n_time_steps steps, (n_time_steps + 1, *x.shape).

        An adaptive scheme returns the states at the borders of theta's elements,
        (basis.n_elements + 1, *x.shape). So does `adjoint` while gradients are enabled.

        Args:
            x: the state x(0).
            times: times from 0 to 1 in ascending order, for an adaptive scheme that is an embedded
                pair. The states at these times are returned, (len(times), *x.shape). `dopri5` and
                `tsit5` interpolate within their steps with order 4, which is less accurate than
                their steps. The steps of the others, and of all with `gradient=checkpoint`, end at
                these times.

        Raises:
            ValueError: if the times are not in [0, 1] and in order, or the scheme takes none.
        """
        if times is not None:
            at = self.settings.checked_times(times)
            return torch.stack(list(self._passage.states(self.nodes, x, at)))
        return torch.stack([x, *self._passage.states(self.nodes, x)])

    def extra_repr(self) -> str:
        settings = f"scheme={self.scheme.name}, {self.basis}, n_time_steps={self.n_time_steps}"
        return f"{settings}, epsilon={self.epsilon:g}"
