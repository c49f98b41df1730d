"""Adaptive schemes against closed forms: states, gradients and the precision of the state."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from contnet import ADAPTIVE_SCHEMES, ODEBlock
from tests.ode.theta import quadrature, values

NODES = {"piecewise_constant": 3, "piecewise_linear": 4, "continuous_linear": 3, "legendre": 3}
FACTORS = (3.0, -1.0, 2.0, 0.5)
SETTINGS = [
    (scheme, basis, gradient)
    for scheme in ADAPTIVE_SCHEMES
    for basis in NODES
    for gradient in ("backprop", "checkpoint", "adjoint")
    if gradient != "adjoint" or (basis == "piecewise_constant" and scheme != "tsit5")
]


class Growth(nn.Module):
    """R(x) = a x."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones((), dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x


def growth(scheme: str, basis: str, tolerance: float = 1e-6, **options: object) -> ODEBlock:
    """Return a block whose theta(t) is a number that changes with t."""
    options = {"rtol": tolerance, "atol": tolerance, **options}
    block = ODEBlock(Growth, NODES[basis], scheme=scheme, basis=basis, **options)
    with torch.no_grad():
        for node, factor in zip(block.nodes, FACTORS, strict=False):
            node.a.fill_(factor)
    return block


def shares(block: ODEBlock) -> np.ndarray:
    """Return the integral of each function of the basis over [0, 1]."""
    times, weights = quadrature(block.basis.n_elements)
    shares: np.ndarray = values(block.basis, times) @ weights
    return shares


@pytest.mark.parametrize(("scheme", "basis", "gradient"), SETTINGS)
def test_gradients_are_those_of_the_closed_form(scheme: str, basis: str, gradient: str) -> None:
    """x(1) = x(0) exp(integral of theta), and step sizes carry no gradient."""
    # The two solutions of fehlberg2 differ little: it misjudges its error by a factor of 100.
    order = ADAPTIVE_SCHEMES[scheme].order
    tolerance = 1e-7 if order > 3 else 1e-6 if scheme == "fehlberg2" else 1e-5
    block = growth(scheme, basis, tolerance, gradient=gradient, epsilon=0.75)
    x = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    result = block(x)
    result[0].backward()
    factors = [node.a.item() for node in block.nodes]
    expected = math.exp(0.75 * shares(block) @ factors)
    close = {"rel": 3e-5 if order > 3 else 2e-3}
    assert result[0].item() == pytest.approx(expected, **close)
    found = [0.0 if node.a.grad is None else node.a.grad.item() for node in block.nodes]
    assert found == pytest.approx(
        0.75 * expected * shares(block), **close, abs=close["rel"] * expected
    )
    assert x.grad is not None
    assert x.grad[0].item() == pytest.approx(expected, **close)


@pytest.mark.parametrize("gradient", ["backprop", "adjoint"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("basis", NODES)
def test_a_state_of_16_bits_is_integrated_in_32(
    basis: str, dtype: torch.dtype, gradient: str
) -> None:
    if gradient == "adjoint" and basis != "piecewise_constant":
        return
    block = growth("dopri5", basis, 1e-4, gradient=gradient).to(dtype)
    x = torch.ones(4, dtype=dtype)
    expected = math.exp(shares(block) @ FACTORS[: block.n_basis])
    result = block(x)
    assert (result.dtype, block.trajectory(x).dtype) == (dtype, dtype)
    # What is left is the rounding of R(x) to 16 bits, 2^-9, not the solver's.
    assert result[0].item() == pytest.approx(expected, rel=0.01)
    result.sum().backward()
    assert block.nodes[0].a.grad is not None
    assert block.nodes[0].a.grad.item() == pytest.approx(4 * expected * shares(block)[0], rel=0.02)


@pytest.mark.parametrize("scheme", ["euler", "rk4_classic", "dopri5"])
@pytest.mark.parametrize("basis", NODES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.complex128])
def test_autocast_cuts_no_state_of_more_than_16_bits(
    basis: str, dtype: torch.dtype, scheme: str
) -> None:
    if scheme == "dopri5":
        block = growth(scheme, basis, 1e-7)
    else:
        block = growth(scheme, basis, rtol=None, atol=None)
    x = torch.full((2,), 0.1 if dtype == torch.float64 else 0.1 + 0.2j, dtype=dtype)
    expected = block(x)
    with torch.autocast("cpu", torch.bfloat16):
        result = block(x)
    assert result.dtype == dtype
    assert torch.equal(result, expected)


@pytest.mark.parametrize("basis", NODES)
def test_a_complex_state_turns_as_the_closed_form_does(basis: str) -> None:
    block = growth("dopri5", basis, 1e-7)
    for node in block.nodes:
        node.a = nn.Parameter(1j * node.a.detach())
    angle = shares(block) @ FACTORS[: block.n_basis]
    result = block(torch.ones(1, dtype=torch.complex128))
    assert result.item() == pytest.approx(complex(math.cos(angle), math.sin(angle)), abs=1e-5)


@pytest.mark.parametrize(("scheme", "basis", "gradient"), SETTINGS)
def test_a_batch_without_images_is_no_failure(scheme: str, basis: str, gradient: str) -> None:
    block = growth(scheme, basis, 1e-3, gradient=gradient)
    x = torch.zeros(0, 4, dtype=torch.float64, requires_grad=True)
    result = block(x)
    result.sum().backward()
    assert (result.shape, x.grad.shape) == ((0, 4), (0, 4))
