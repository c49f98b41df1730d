"""One residual unit as a rate, integrated by torchode and by diffrax with the same weights."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from contnet.networks.units import ResidualUnit

TOLERANCE = 1e-3
"""rtol and atol of all solvers."""

CHANNELS = 16

EVALUATIONS_IN_A_STEP = 6
"""Of dopri5 in diffrax, which tells no number but that of steps."""

Solve = Callable[[Tensor], Tensor]


def forward(solve: Solve, x: Tensor) -> Callable[[], None]:
    """Return a forward pass that keeps nothing."""

    def run() -> None:
        with torch.no_grad():
            solve(x)

    return run


def training(solve: Solve, x: Tensor) -> Callable[[], None]:
    """Return a forward and backward pass."""

    def run() -> None:
        solve(x).sum().backward()

    return run


PASSES: dict[str, Callable[[Solve, Tensor], Callable[[], None]]] = {
    "forward": forward,
    "training": training,
}


def unit() -> nn.Module:
    torch.manual_seed(0)
    return ResidualUnit(CHANNELS, CHANNELS)


class OfVectors(nn.Module):
    """A residual unit as torchode evaluates it: (t, (N, C H W)) -> (N, C H W)."""

    def __init__(self, rate: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.rate = rate
        self.channels, self.height, self.width = CHANNELS, height, width

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        found: Tensor = self.rate(y.view(-1, self.channels, self.height, self.width)).flatten(1)
        return found


class WithTorchode:
    """Solves by torchode's dopri5, compiled by TorchScript as its documentation does."""

    def __init__(self, rate: nn.Module, x: Tensor) -> None:
        import torchode

        self.n_f_evals = 0
        self.problem = torchode.InitialValueProblem
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated
            term = torchode.ODETerm(torch.jit.script(OfVectors(rate, *x.shape[2:])))
            controller = torchode.IntegralController(atol=TOLERANCE, rtol=TOLERANCE, term=term)
            solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), controller)
            self.solver = torch.jit.script(solver.to(x.device))

    def __call__(self, x: Tensor) -> Tensor:
        ends = x.new_zeros(len(x)), x.new_ones(len(x))
        found = self.solver.solve(self.problem(x.flatten(1), *ends))
        self.n_f_evals = int(found.stats["n_f_evals"].max())
        states: Tensor = found.ys[:, -1]
        return states.view(x.shape)


def diffrax_passes(rate: nn.Module, x: Tensor) -> tuple[dict[str, Callable[[], None]], Tensor, int]:
    """Return the jitted passes of diffrax's dopri5, x(1), and the number of evaluations.

    Channels are last: within a loop on a CPU, XLA's convolution takes 19 times as long otherwise.
    """
    import diffrax  # type: ignore[import-not-found,unused-ignore]
    import jax  # type: ignore[import-not-found,unused-ignore]
    from jax import numpy as jnp

    weights = {name: jnp.asarray(value.cpu().numpy()) for name, value in rate.state_dict().items()}
    for name in ("conv1.weight", "conv2.weight"):
        weights[name] = weights[name].transpose(2, 3, 1, 0)

    def convolved(weights: dict[str, Any], name: str, y: Any) -> Any:
        order = ("NHWC", "HWIO", "NHWC")
        kernel = weights[f"{name}.weight"]
        y = jax.lax.conv_general_dilated(y, kernel, (1, 1), "SAME", dimension_numbers=order)
        return y + weights[f"{name}.bias"]

    def normalised(weights: dict[str, Any], name: str, y: Any) -> Any:
        of = {key: weights[f"{name}.{key}"] for key in ("weight", "bias")}
        mean, var = (weights[f"{name}.running_{key}"] for key in ("mean", "var"))
        scale = of["weight"] / jnp.sqrt(var + 1e-5)
        return y * scale + (of["bias"] - mean * scale)

    def dynamics(t: Any, y: Any, weights: dict[str, Any]) -> Any:
        for i in ("1", "2"):
            y = normalised(weights, f"bn{i}", jax.nn.relu(convolved(weights, f"conv{i}", y)))
        return y

    def solve(weights: dict[str, Any], y: Any) -> tuple[Any, Any]:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(dynamics),
            diffrax.Dopri5(),
            0.0,
            1.0,
            None,
            y,
            args=weights,
            stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
        )
        return found.ys[-1], found.stats["num_steps"]

    float_weights = {name: value for name, value in weights.items() if value.dtype == jnp.float32}
    run = jax.jit(solve)
    gradient = jax.jit(jax.grad(lambda weights, y: solve(weights, y)[0].sum()))
    given = jnp.asarray(x.permute(0, 2, 3, 1).cpu().numpy())
    result, n_steps = run(float_weights, given)
    passes = {
        "forward": lambda: jax.block_until_ready(run(float_weights, given)),
        "training": lambda: jax.block_until_ready(gradient(float_weights, given)),
    }
    evaluations = EVALUATIONS_IN_A_STEP * int(n_steps) + 3
    final = torch.from_numpy(jax.device_get(result).copy()).permute(0, 3, 1, 2)
    return passes, final, evaluations
