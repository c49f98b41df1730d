"""torch.compile of networks: equal results, and compilations that do not grow with depth."""

import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from contnet import ContinuousNet
from contnet.networks import continuous


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # torch.compile looks at it
@pytest.mark.parametrize(
    ("scheme", "gradient", "at_once", "n_compilations"),
    [
        pytest.param("rk4", "backprop", True, 1, marks=pytest.mark.long),
        pytest.param(
            "rk4", "backprop", False, 6, marks=pytest.mark.long
        ),  # a stitch and a step in each of three segments
        pytest.param(
            "rk4", "checkpoint", True, 6, marks=pytest.mark.long
        ),  # and each step once more for the way back
        ("bosh3", "backprop", True, 6),
        pytest.param(
            "dopri5", "adjoint", True, 12, marks=pytest.mark.long
        ),  # the stitches, the rates, and these without and with a gradient, to go back
    ],
)
@pytest.mark.parametrize("depth", [pytest.param(1, marks=pytest.mark.long), 2])
def test_a_compiled_network_is_the_same_and_depth_costs_no_compilation(
    scheme: str,
    gradient: str,
    at_once: bool,
    n_compilations: int,
    depth: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(continuous, "WHOLE_UP_TO", 24 if at_once else 0)
    network = ContinuousNet(alpha=2, initial_time_d=depth, scheme=scheme, gradient=gradient)
    assert_compiled_is_the_same(network, CompileCounterWithBackend("aot_eager"), n_compilations)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(
    ("scheme", "gradient", "basis", "depth", "n_compilations"),
    [
        (
            "rk4",
            "backprop",
            "continuous_linear",
            4,
            9,
        ),  # a stitch, and a rate of one node and of two
        ("rk4", "backprop", "continuous_linear", 8, 9),
        ("rk4", "checkpoint", "continuous_linear", 4, 9),
        ("rk4", "backprop", "piecewise_linear", 4, 9),
        (
            "midpoint",
            "backprop",
            "legendre",
            3,
            9,
        ),  # a stitch, and a rate of all nodes and of those of even degree
    ],
)
def test_nor_does_it_in_any_basis(
    scheme: str, gradient: str, basis: str, depth: int, n_compilations: int
) -> None:
    network = ContinuousNet(
        alpha=2, initial_time_d=depth, scheme=scheme, gradient=gradient, basis=basis
    )
    assert_compiled_is_the_same(network, CompileCounter(), n_compilations)


def assert_compiled_is_the_same(
    network: ContinuousNet, backend: CompileCounter, n_compilations: int
) -> None:
    torch._dynamo.reset()
    plain = copy.deepcopy(network)
    network.compile(dynamic=False, backend=backend)
    images = torch.randn(4, 3, 8, 8)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        outputs = [net(images) for net in (network, plain)]
        assert torch.equal(*outputs)
        for output in outputs:
            output.square().sum().backward()
    assert backend.frame_count == n_compilations
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    for name, value in plain.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
