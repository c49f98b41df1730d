"""The solvers of torchdiffeq as schemes: the same numbers as its own call, and gradients."""

import copy

import pytest
import torch
from torch import Tensor
from torchdiffeq import odeint

from contnet import ODEBlock
from contnet.ode.schemes import OTHER_NAMES, TORCHDIFFEQ_SCHEMES, find_scheme
from tests.ode.test_adaptive import NODES, growth
from tests.problems import Linear, Smooth

CHOOSING = ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
ADAMS = ["explicit_adams", "implicit_adams"]


def test_the_solvers_are_those_that_torchdiffeq_has_beside_its_fixed_steps() -> None:
    names = [f"torchdiffeq/{method}" for method in (*CHOOSING, *ADAMS, "scipy_solver")]
    assert list(TORCHDIFFEQ_SCHEMES) == names


@pytest.mark.parametrize("method", CHOOSING)
def test_the_result_is_that_of_torchdiffeq_itself(method: str) -> None:
    block = ODEBlock(Smooth, scheme=f"torchdiffeq/{method}", rtol=1e-5, atol=1e-6)
    x = torch.randn(3, 4, dtype=torch.float64)
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    expected = odeint(
        lambda t, y: block.nodes[0](y),
        x,
        t,
        method=method,
        rtol=1e-5,
        atol=1e-6,
        options={"step_t": t[1:]},
    )[-1]
    torch.testing.assert_close(block(x), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("n_time_steps", [3, 8])
def test_solvers_with_equal_steps_take_those_of_the_block(n_time_steps: int) -> None:
    """Three steps are rounded up to two in each of two elements of theta."""
    block = ODEBlock(Linear, 2, n_time_steps, scheme="torchdiffeq/explicit_adams")
    x = torch.randn(3, 4, dtype=torch.float64)
    expected = x
    for k, node in enumerate(block.nodes):
        t = torch.tensor([k / 2, (k + 1) / 2], dtype=torch.float64)
        step = {"step_size": 1 / (4 if n_time_steps == 3 else 8), "max_order": 4}
        expected = odeint(
            lambda t, y, node=node: node(y), expected, t, method="explicit_adams", options=step
        )[-1]
    torch.testing.assert_close(block(x), expected, rtol=1e-14, atol=1e-14)
    assert ODEBlock(Linear, scheme="torchdiffeq/implicit_adams", rtol=1e-3)(x).isfinite().all()


def test_scipy_integrates_and_has_no_gradient_of_its_own() -> None:
    block = ODEBlock(Linear, 2, scheme="torchdiffeq/scipy_solver", rtol=1e-8, atol=1e-8)
    x = torch.randn(3, 4, dtype=torch.float64)
    with torch.no_grad():
        found = block(x)
    exact = block.nodes[1].flow(block.nodes[0].flow(x, 0.5), 0.5)
    torch.testing.assert_close(found, exact.detach(), rtol=1e-6, atol=1e-6)
    assert block.n_f_evals > 0
    with pytest.raises(
        ValueError, match="torchdiffeq/scipy_solver has no gradient of its own; use"
    ):
        block(x)
    other = copy.deepcopy(block)
    other.set_manifestation("dopri5", rtol=1e-9, atol=1e-9)
    block.gradient = "adjoint"
    for one in (block, other):
        one(x).sum().backward()
    torch.testing.assert_close(
        block.nodes[0].weight.grad, other.nodes[0].weight.grad, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("basis", NODES)
@pytest.mark.parametrize("method", CHOOSING)
def test_pair_and_solver_agree_within_their_tolerance(method: str, basis: str) -> None:
    """Two implementations, in states and in gradients."""
    low = method in ("fehlberg2", "adaptive_heun")
    found: list[list[Tensor]] = []
    for scheme in (method, f"torchdiffeq/{method}"):
        block = growth(OTHER_NAMES.get(scheme, scheme), basis, 1e-5 if low else 1e-7)
        x = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
        result = block(x)
        result.sum().backward()
        assert x.grad is not None
        found.append([result.detach(), x.grad, *(node.a.grad for node in block.nodes)])
    near = 1e-2 if low else 1e-4
    torch.testing.assert_close(found[0], found[1], rtol=near, atol=near)


def test_a_pair_is_known_by_the_name_that_torchdiffeq_gives_it() -> None:
    assert find_scheme("adaptive_heun") == find_scheme("heun_euler")
    with pytest.raises(ValueError, match=r"scheme must be one of euler, .*torchdiffeq/dopri5"):
        find_scheme("torchdiffeq/dopri6")


@pytest.mark.parametrize("control", ["batch", "image"])
def test_the_norm_is_that_of_the_scheme(control: str) -> None:
    x = torch.zeros(64, 4, dtype=torch.float64)
    x[7] = torch.tensor([0.9, 0.1, 1.2, 0.4])
    torch.manual_seed(2)
    block = ODEBlock(
        Linear, scheme="torchdiffeq/dopri5", control=control, epsilon=6.0, rtol=1e-4, atol=1e-4
    )
    block(x[7:8])
    alone = block.n_f_evals
    block(x)
    assert (block.n_f_evals == alone) == (control == "image")
