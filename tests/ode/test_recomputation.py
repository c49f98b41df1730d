"""What is recomputed in the backward pass: from the same weights and buffers, without a trace."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations

from contnet import ContinuousNet, ODEBlock
from tests.problems import Smooth

BASES = {"piecewise_constant": 2, "piecewise_linear": 4, "continuous_linear": 3, "legendre": 2}
SETTINGS = [
    *(("rk4", basis, "checkpoint") for basis in BASES),
    ("euler", "piecewise_constant", "checkpoint"),
    ("bosh3", "continuous_linear", "checkpoint"),
    *((scheme, "piecewise_constant", "adjoint") for scheme in ("euler", "rk4", "bosh3")),
]


class Memory(nn.Module):
    """A layer that divides by a running scale, which it updates before."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("n_calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.n_calls += 1
        if self.training:
            self.scale.lerp_(x.detach().abs().mean(), 0.2)
        return x / self.scale.clone()  # it may be updated before the backward pass


class Replaced(nn.Module):
    """A layer that replaces its buffer by another tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.scale = 0.9 * self.scale + 0.1 * x.detach().abs().mean()
        return x / self.scale


def twice(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.Tanh(), layer)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.BatchNorm2d(3),
    "batch norm, cumulative": lambda: nn.BatchNorm2d(3, momentum=None),
    "batch norm, used twice": lambda: twice(nn.BatchNorm2d(3)),
    "instance norm": lambda: nn.InstanceNorm2d(3, track_running_stats=True),
    "memory": Memory,
    "replaced": Replaced,
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(3, 3, 1)),
}


def rate(layer: str) -> nn.Module:
    torch.manual_seed(0)  # equal buffers, as every basis needs them
    return nn.Sequential(nn.Conv2d(3, 3, 1), LAYERS[layer](), nn.Tanh()).double()


def block(layer: str, scheme: str, basis: str, gradient: str) -> ODEBlock:
    made = ODEBlock(
        lambda: rate(layer), BASES[basis], scheme=scheme, basis=basis, gradient=gradient
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("scheme", "basis", "gradient"), SETTINGS)
def test_buffers_and_gradients_are_those_of_backprop(
    layer: str, scheme: str, basis: str, gradient: str
) -> None:
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    plain, frugal = (block(layer, scheme, basis, g) for g in ("backprop", gradient))
    if gradient == "adjoint" and scheme == "bosh3":
        plain.set_manifestation("torchdiffeq/bosh3")  # which chooses the same steps
    for one in (plain, frugal):
        one(x).square().mean().backward()
    for (name, expected), found in zip(plain.named_buffers(), frugal.buffers(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, msg=name)
    if gradient == "checkpoint":
        for (name, p), q in zip(plain.named_parameters(), frugal.parameters(), strict=True):
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.parametrize("inside", [False, True], ids=["block", "network"])
@pytest.mark.parametrize(("scheme", "basis", "gradient"), SETTINGS)
def test_other_parameters_receive_their_own_gradients(
    scheme: str, basis: str, gradient: str, inside: bool
) -> None:
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if scheme == "bosh3" else {}
    n_time_steps = 32 * BASES[basis] if gradient == "adjoint" else BASES[basis]
    made = ODEBlock(
        Smooth, BASES[basis], n_time_steps, scheme, basis=basis, gradient=gradient, **tolerance
    )
    network = nn.Sequential(made, nn.Tanh()) if inside else made
    torch.manual_seed(1)
    others = {
        name: (p + torch.randn_like(p)).detach().requires_grad_()
        for name, p in network.named_parameters()
    }
    x = torch.randn(3, 4, dtype=torch.float64)
    functional_call(network, others, (x,)).square().sum().backward()
    expected = copy.deepcopy(network)
    expected.load_state_dict(others)
    for one in expected.modules():
        if isinstance(one, ODEBlock):
            one.gradient = "backprop"
    expected(x).square().sum().backward()
    close = {"rtol": 1e-9, "atol": 1e-12}
    if gradient == "adjoint":  # as near as the scheme is
        near = {"euler": 0.1, "rk4": 1e-4, "bosh3": 1e-3}[scheme]
        close = {"rtol": near, "atol": near}
    for name, parameter in expected.named_parameters():
        assert others[name].grad is not None, name
        torch.testing.assert_close(others[name].grad, parameter.grad, **close, msg=name)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(("scheme", "basis", "gradient"), SETTINGS)
def test_a_graph_that_is_retained_gives_its_gradient_twice(
    scheme: str, basis: str, gradient: str
) -> None:
    made = block("batch norm", scheme, basis, gradient)
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    loss = made(x).square().sum()
    before = {name: buffer.clone() for name, buffer in made.named_buffers()}
    inputs = [x, *(p for p in made.parameters() if p.requires_grad)]
    first, second = (
        torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True) for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    for name, buffer in made.named_buffers():
        assert torch.equal(buffer, before[name]), name


@pytest.mark.parametrize(("scheme", "basis", "gradient"), SETTINGS)
def test_second_derivatives_are_right_or_refused(scheme: str, basis: str, gradient: str) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    plain, made = (
        ODEBlock(Smooth, BASES[basis], scheme=scheme, basis=basis, gradient=g)
        for g in ("backprop", gradient)
    )
    made.load_state_dict(plain.state_dict())

    def second(one: ODEBlock) -> Tensor:
        (first,) = torch.autograd.grad(one(x).sum(), x, create_graph=True)
        return torch.cat(
            [g.flatten() for g in torch.autograd.grad(first.square().sum(), list(one.parameters()))]
        )

    if gradient == "adjoint":
        with pytest.raises(RuntimeError, match="gradient=adjoint has no second derivatives"):
            second(made)
    else:
        torch.testing.assert_close(second(made), second(plain), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
def test_networks_with_other_parameters_have_the_gradient_of_backprop(gradient: str) -> None:
    plain, frugal = (
        ContinuousNet(alpha=2, batch_norm=False, n_time_steps_per=8, scheme="rk4", gradient=g)
        for g in ("backprop", gradient)
    )
    plain.double(), frugal.double()
    frugal.load_state_dict(plain.state_dict())
    others = {name: 0.5 * p.detach() for name, p in plain.named_parameters()}
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    found = []
    for network in (plain, frugal):
        mine = {name: p.clone().requires_grad_() for name, p in others.items()}
        functional_call(network, mine, (x,)).square().sum().backward()
        found.append(mine)
    for name, parameter in found[0].items():
        norm = parameter.grad.norm().item()
        assert found[1][name].grad.norm().item() == pytest.approx(
            norm, rel=1e-9 if gradient == "checkpoint" else 0.02, abs=1e-9
        ), name


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("scheme", "basis", "gradient"), SETTINGS)
def test_weights_that_have_changed_since_the_forward_pass_are_refused(
    scheme: str, basis: str, gradient: str, frozen: bool
) -> None:
    """As autograd refuses them: what is recomputed from them is not what was computed."""
    made = ODEBlock(Smooth, BASES[basis], scheme=scheme, basis=basis, gradient=gradient)
    made.requires_grad_(not frozen)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    loss = made(x).sum()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 1
    with pytest.raises(RuntimeError, match=r"modified by an inplace|in place since"):
        loss.backward()


class Bounded(nn.Module):
    """A layer that keeps its weight in bounds, in place, before it uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), 2.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.clamp_(-1, 1)
        return (x * self.weight).tanh()


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_a_rate_may_bound_its_weights_as_it_is_evaluated(gradient: str) -> None:
    block = ODEBlock(Bounded, 2, gradient=gradient)
    block(torch.ones(3, 4, dtype=torch.float64)).sum().backward()
    assert all(p.grad is not None for p in block.parameters())


@pytest.mark.parametrize("layer", ["memory", "replaced", "spectral norm"])
@pytest.mark.parametrize(("scheme", "basis", "gradient"), SETTINGS)
def test_buffers_that_a_rate_updates_are_one_for_the_block(
    layer: str, scheme: str, basis: str, gradient: str
) -> None:
    """A block that was trained can be loaded, refined and projected: its nodes can be summed."""
    made, other = (block(layer, scheme, basis, gradient) for _ in range(2))
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    for _ in range(2):
        made(x).sum().backward()
    if basis != "piecewise_constant":
        for node in made.nodes:
            for expected, found in zip(made.nodes[0].buffers(), node.buffers(), strict=True):
                assert torch.equal(found, expected)
    if layer == "memory" and basis != "piecewise_constant" and scheme != "bosh3":
        assert made.nodes[0][1].n_calls == 2 * made.n_f_evals
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.eval()(x), made.eval()(x))
    made.refine()
    if basis != "piecewise_constant":  # elsewhere, nodes that differ in a buffer cannot be summed
        made.project(2, "legendre")
    assert made(x).isfinite().all()
