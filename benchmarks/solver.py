"""An ODE block alone: its time over the number of steps and over other solvers, and its precision.

    python -m benchmarks.solver

The times are of the forward and backward pass of a block of one node, in float32 and eager.
The other solvers are torchdiffeq, and torchdyn and torchode if they are installed. The last part
measures how the precision of the state x(t) changes x(1).
"""

import copy
import statistics
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from benchmarks.measure import in_turns, parser, ratio, shown, write
from contnet import ODEBlock
from contnet.networks.units import ResidualUnit

N_TIME_STEPS = (1, 2, 4, 8, 16, 32, 64)
CHANNELS = 64
Solver = Callable[[Tensor], Tensor]


def residual_unit() -> nn.Module:
    return ResidualUnit(
        CHANNELS, CHANNELS, batch_norm=True, use_skipinit=False, activation_before_conv=False
    )


def training(solver: Solver, x: Tensor) -> Callable[[], None]:
    """Return a forward and backward pass as a function without arguments."""

    def run() -> None:
        solver(x).sum().backward()

    return run


def with_torchdiffeq(rate: nn.Module, n: int, method: str) -> Solver:
    def solve(x: Tensor) -> Tensor:
        t = torch.linspace(0, 1, n + 1, device=x.device)
        states: Tensor = odeint(lambda t, y: rate(y), x, t, method=method)
        return states[-1]

    return solve


def with_torchdyn(rate: nn.Module, n: int, method: str) -> Solver:
    from torchdyn.numerics import odeint as solve_with_torchdyn

    def solve(x: Tensor) -> Tensor:
        t = torch.linspace(0, 1, n + 1, device=x.device)
        states: Tensor = solve_with_torchdyn(lambda t, y: rate(y), x, t, solver=method)[1]
        return states[-1]

    return solve


def with_torchode(rate: nn.Module, n: int, method: str) -> Solver:
    """Return a solver by Euler's method: torchode has no RK4. Its states are vectors (N, C H W)."""
    import torchode

    def solve(x: Tensor) -> Tensor:
        shape = x.shape
        term = torchode.ODETerm(lambda t, y: rate(y.view(shape)).flatten(1))
        problem = torchode.InitialValueProblem(
            y0=x.flatten(1), t_start=x.new_zeros(len(x)), t_end=x.new_ones(len(x))
        )
        step = torchode.Euler(term=term)
        solver = torchode.AutoDiffAdjoint(step, torchode.FixedStepController())
        states: Tensor = solver.solve(problem, term, dt0=x.new_full((len(x),), 1 / n)).ys
        return states[:, -1].view(shape)

    return solve


def bfloat16_state(block: ODEBlock, x: Tensor) -> Tensor:
    """Integrate by Euler's method with a state that is rounded to bfloat16 after each step."""
    (node,) = block.nodes
    for _ in range(block.n_time_steps):
        x = (x + node(x) / block.n_time_steps).bfloat16()
    return x.float()


def precision_of_the_state(x: Tensor, device: str) -> dict[int, dict[str, float]]:
    """Return the error of x(1) for each number of steps, and for states in float32 and bfloat16.

    The error is the distance from the result of equal steps in float64, over the distance from x(0)
    to there. Rates are in bfloat16.
    """
    block = ODEBlock(residual_unit, epsilon=1.0).to(device).eval()
    found = {}
    for n in N_TIME_STEPS:
        block.set_manifestation(n_time_steps=n)
        with torch.no_grad():
            exact = copy.deepcopy(block).double()(x.double())
            with torch.autocast(device, torch.bfloat16):
                states = {"float32": block(x), "bfloat16": bfloat16_state(block, x)}
        found[n] = {
            name: float((state.double() - exact).norm() / (exact - x).norm())
            for name, state in states.items()
        }
    return found


def time_over_steps(x: Tensor, rounds: int, device: str) -> dict[str, Any]:
    """Measure the time for each number of steps, and its residuals from a line through the origin.

    The line is the least-squares fit of the relative residuals.
    """
    blocks = {str(n): ODEBlock(residual_unit, n_time_steps=n).to(device) for n in N_TIME_STEPS}
    seconds = in_turns({n: training(block, x) for n, block in blocks.items()}, rounds, device)
    medians = {int(n): statistics.median(values) for n, values in seconds.items()}
    slope = sum(m / n for n, m in medians.items()) / sum((m / n) ** 2 for n, m in medians.items())
    residuals = {n: median * slope / n - 1 for n, median in medians.items()}
    print(f"time = n_time_steps x {1e3 / slope:.2f} ms; residuals:")
    print("  " + ", ".join(f"{n}: {100 * residual:+.1f} %" for n, residual in residuals.items()))
    return {"milliseconds": {n: 1e3 * m for n, m in medians.items()}, "residuals": residuals}


def time_over_other_solvers(x: Tensor, rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Compare the installed solvers with contnet, by Euler's method and RK4."""
    others: dict[str, Callable[[nn.Module, int, str], Solver]] = {"torchdiffeq": with_torchdiffeq}
    if find_spec("torchdyn"):
        others["torchdyn"] = with_torchdyn
    if find_spec("torchode"):
        others["torchode"] = with_torchode
    compared = {}
    for method in ("euler", "rk4"):
        block = ODEBlock(residual_unit, n_time_steps=8, scheme=method).to(device)
        sides: dict[str, Callable[[], None]] = {"contnet": training(block, x)}
        for name, make in others.items():
            if method == "euler" or name != "torchode":
                sides[name] = training(make(copy.deepcopy(block.nodes[0]), 8, method), x)
        seconds = in_turns(sides, rounds, device)
        for name in sides:
            if name != "contnet":
                over = compared[f"{name}_{method}"] = ratio(seconds[name], seconds["contnet"])
                print(f"{name} over contnet, {method}, 8 steps: {shown(over)}")
    return compared


def main() -> None:
    made = parser(__doc__, "solver", rounds=9)
    made.add_argument("--batch-size", type=int, default=128)
    options = made.parse_args()
    device = options.device
    torch.manual_seed(0)
    x = torch.randn(options.batch_size, CHANNELS, 8, 8, device=device)
    result = time_over_steps(x, options.rounds, device)
    result["others"] = time_over_other_solvers(x, options.rounds, device)
    result["precision"] = precision_of_the_state(x, device)
    print("error of x(1) over its distance from x(0), Euler, rates in bfloat16:")
    for n, errors in result["precision"].items():
        in_float32, in_bfloat16 = errors["float32"], errors["bfloat16"]
        print(f"  {n:2} steps: {in_float32:.1e} with x in float32, {in_bfloat16:.1e} in bfloat16")
    write(options.json, result, device)


if __name__ == "__main__":
    main()
