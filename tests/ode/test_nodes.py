"""Nodes as they are now: replaced ones, ones without parameters, ones of another shape."""

import copy
import re
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from contnet import ODEBlock
from contnet.ode.bases import BASES
from tests.problems import Linear, Smooth

COMBINING = [basis for basis in BASES if basis != "piecewise_constant"]
SIZES = {"piecewise_constant": 3, "piecewise_linear": 4, "continuous_linear": 3, "legendre": 3}


@pytest.mark.parametrize("how", ["one", "all", "one by one"])
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint"])
@pytest.mark.parametrize("scheme", ["rk4", "bosh3"])
@pytest.mark.parametrize("basis", BASES)
def test_a_node_that_is_replaced_is_used_at_once(
    basis: str, scheme: str, gradient: str, how: str
) -> None:
    if gradient == "adjoint" and basis != "piecewise_constant":
        return
    block, other = (
        ODEBlock(Smooth, SIZES[basis], scheme=scheme, basis=basis, gradient=gradient)
        for _ in range(2)
    )
    x = torch.randn(2, 4, dtype=torch.float64)
    block(x)
    new = copy.deepcopy(other.nodes)
    if how == "all":
        block.nodes = new
    else:
        for k in range(1 if how == "one" else SIZES[basis]):
            block.nodes[k] = new[k]
        for k, node in enumerate(block.nodes):
            other.nodes[k] = copy.deepcopy(node)
    assert torch.equal(block(x), other(x))
    block(x).sum().backward()
    assert all(p.grad is not None for p in block.nodes.parameters())


@pytest.mark.parametrize("basis", BASES)
def test_more_or_fewer_nodes_than_the_basis_has_are_refused(basis: str) -> None:
    block = ODEBlock(Linear, SIZES[basis], basis=basis)
    block.nodes.append(Linear())
    with pytest.raises(
        ValueError, match=f"nodes must be {SIZES[basis]} .*, got {SIZES[basis] + 1}"
    ):
        block(torch.ones(1, 4, dtype=torch.float64))


def quantized(block: ODEBlock) -> nn.Module:
    with warnings.catch_warnings():  # deprecated, and widely used
        warnings.simplefilter("ignore")
        result: nn.Module = torch.ao.quantization.quantize_dynamic(block, {nn.Linear})
    return result


@pytest.mark.parametrize("basis", BASES)
def test_quantized_nodes_are_used_each_or_refused_by_name(basis: str) -> None:
    block = ODEBlock(lambda: nn.Linear(8, 8), 4, basis=basis).eval()
    x = torch.randn(16, 8)
    expected = block(x) - x
    with torch.no_grad():
        smaller = quantized(block)
        uses = [lambda: smaller(x), smaller.refine]
        if basis == "piecewise_constant":
            for use in uses:
                use()
            smaller.set_manifestation(n_time_steps=4)
            assert (smaller(x) - x - expected).norm() < 0.03 * expected.norm()
            uses = []
        for use in (*uses, lambda: smaller.project(3, "continuous_linear")):
            with pytest.raises(ValueError, match=r"_packed_params.* is not a parameter"):
                use()


class Hidden(nn.Module):
    """A rate whose weight is no parameter."""

    def __init__(self, how: str) -> None:
        super().__init__()
        weight = torch.randn(4, dtype=torch.float64)
        if how == "buffer":
            self.register_buffer("weight", weight)
        elif how == "attribute":
            self.weight = weight
        elif how == "fixed":
            self.weight = nn.Parameter(weight, requires_grad=False)
        elif how == "integer":
            self.weight = nn.Parameter((4 * weight).long(), requires_grad=False)
        elif how == "pruned":
            self.weight = nn.Parameter(weight)
            prune.random_unstructured(self, "weight", amount=2)
        elif how == "state":
            self.hidden = weight.tolist()
        self.how = how

    def get_extra_state(self) -> object:
        return self.hidden if self.how == "state" else None

    def set_extra_state(self, state: object) -> None:
        self.hidden = state

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "state":
            return x * torch.tensor(self.hidden, dtype=x.dtype)
        return x * self.weight


@pytest.mark.parametrize("how", ["buffer", "attribute", "integer", "pruned", "state"])
@pytest.mark.parametrize("basis", COMBINING)
def test_weights_that_cannot_be_combined_are_refused_by_name(basis: str, how: str) -> None:
    name = {"pruned": "weight_mask", "state": "_extra_state"}.get(how, "weight")
    with pytest.raises(ValueError, match=f"the basis {basis} must .*: {name} is not"):
        ODEBlock(lambda: Hidden(how), SIZES[basis], basis=basis)(torch.ones(4).double())
    block = ODEBlock(lambda: Hidden(how), 4)
    with pytest.raises(ValueError, match=name):
        block.project(2, basis)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_weights_are_combined_when_a_block_is_refined(
    basis: str, dtype: torch.dtype
) -> None:
    block = ODEBlock(lambda: nn.Linear(3, 3, dtype=dtype), SIZES[basis], scheme="rk4", basis=basis)
    x = torch.randn(2, 3, dtype=dtype)
    before, n_time_steps = block(x), block.n_time_steps
    block.refine()
    block.set_manifestation(n_time_steps=n_time_steps)
    difference = (block(x) - before).abs().max().item()
    assert difference < (1e-9 if dtype == torch.complex128 else 1e-5)
    block.project(SIZES[basis])
    assert (block(x) - before).abs().max().item() < (1e-9 if dtype == torch.complex128 else 1e-5)


@pytest.mark.parametrize("basis", COMBINING)
def test_weights_that_are_not_trained_are_combined_as_well(basis: str) -> None:
    block = ODEBlock(lambda: Hidden("fixed"), SIZES[basis], basis=basis)
    x = torch.ones(4, dtype=torch.float64)
    before, n_time_steps = block(x), block.n_time_steps
    block.refine()
    block.set_manifestation(n_time_steps=n_time_steps)
    torch.testing.assert_close(block(x), before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("basis", COMBINING)
def test_nodes_of_different_parameters_are_refused(basis: str) -> None:
    block = ODEBlock(lambda: nn.Linear(4, 4), 2, basis=basis)
    block.nodes[1] = nn.Linear(4, 4, bias=False)
    with pytest.raises(ValueError, match="bias"):
        block(torch.ones(1, 4))
    block.nodes[1] = nn.Linear(4, 1)
    with pytest.raises(ValueError, match=r"weight.*\(1, 4\)"):
        block(torch.ones(1, 4))


class Squeezed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).sum(1)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint"])
@pytest.mark.parametrize("scheme", ["euler", "rk4", "dopri5"])
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize(
    ("rate", "before", "after"),
    [
        (lambda: nn.Linear(4, 1), (6, 4), (6, 1)),
        (Squeezed, (6, 1), (6,)),
        (Squeezed, (1, 1), (1,)),
        (lambda: nn.Conv2d(4, 4, 3, stride=2, padding=1), (1, 4, 8, 8), (1, 4, 4, 4)),
    ],
)
def test_a_rate_of_another_shape_is_refused_with_both_shapes(
    rate: type, before: tuple, after: tuple, basis: str, scheme: str, gradient: str
) -> None:
    if gradient == "adjoint" and basis != "piecewise_constant":
        return
    block = ODEBlock(rate, 2, scheme=scheme, basis=basis, gradient=gradient)
    kind = type(block.nodes[0]).__name__
    for enabled in (True, False, True):
        message = f"the rate {kind} must keep the shape of its input; {before} became {after}"
        with (
            torch.set_grad_enabled(enabled),
            pytest.raises(ValueError, match=f"^{re.escape(message)}$"),
        ):
            block(torch.ones(before))


def test_every_new_shape_and_every_new_node_is_looked_at() -> None:
    class Unless(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if len(x) > 1 else x.sum()

    block = ODEBlock(Unless, 2)
    assert block(torch.ones(2, 3)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"\(1, 3\) became \(\)"):
        block(torch.ones(1, 3))
    block.nodes[1] = nn.Linear(3, 1)
    with pytest.raises(ValueError, match=r"the rate Linear .*\(2, 3\) became \(2, 1\)"):
        block(torch.ones(2, 3))


def in_place(layer: type[nn.Module]) -> nn.Module:
    return nn.Sequential(layer(inplace=True), nn.Linear(4, 4))


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint"])
@pytest.mark.parametrize("scheme", ["euler", "rk4", "dopri5"])
@pytest.mark.parametrize("basis", BASES)
def test_a_rate_that_changes_its_input_in_place_is_refused(
    basis: str, scheme: str, gradient: str
) -> None:
    """The state is needed after the rate: x + R(x) would become relu(x) + R(x)."""
    if gradient == "adjoint" and basis != "piecewise_constant":
        return
    block = ODEBlock(lambda: in_place(nn.ReLU), 2, scheme=scheme, basis=basis, gradient=gradient)
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with (
            mode(),
            pytest.raises(ValueError, match=r"the rate Sequential must not change its input in pl"),
        ):
            block(torch.randn(3, 4))
    with torch.inference_mode():
        unharmed = ODEBlock(lambda: nn.Linear(4, 4), 2, scheme=scheme, basis=basis)
        if scheme != "dopri5":
            assert unharmed(torch.full((3, 4), torch.nan)).isnan().all()


class Masked(nn.Module):
    """A rate with a mask, which no basis can sum."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False)
        self.register_buffer("mask", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.mask


def pruned(nodes: nn.ModuleList) -> None:
    for node in nodes:
        prune.random_unstructured(node.linear, "weight", amount=8)


def masked(nodes: nn.ModuleList) -> None:
    nodes[1].mask[0] = 0


def masked_anew(nodes: nn.ModuleList) -> None:
    nodes[1].mask = torch.zeros(4)


def loaded(nodes: nn.ModuleList) -> None:
    nodes.load_state_dict({**nodes.state_dict(), "1.mask": torch.zeros(4)})


@pytest.mark.parametrize("change", [pruned, masked, masked_anew, loaded])
@pytest.mark.parametrize("basis", COMBINING)
def test_nodes_that_have_become_unequal_since_the_last_pass_are_refused(
    basis: str, change: Callable[[nn.ModuleList], None]
) -> None:
    block = ODEBlock(Masked, SIZES[basis], basis=basis)
    x = torch.randn(3, 4)
    block(x)
    block(x)
    change(block.nodes)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"the basis {basis} must .*mask is not a parameter"):
            block(x)
