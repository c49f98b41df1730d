"""Where and in what the parts of a block are made."""

import pytest
import torch
from torch import nn

from contnet import ContinuousNet, ODEBlock
from contnet.ode.bases import BASES


@pytest.mark.parametrize("scheme", ["rk4", "dopri5"])
@pytest.mark.parametrize("basis", BASES)
def test_a_network_is_built_on_the_meta_device_and_filled_later(basis: str, scheme: str) -> None:
    made = ContinuousNet(alpha=2, initial_time_d=2, basis=basis, scheme=scheme).eval()
    made.refine()
    with torch.device("meta"):
        network = ContinuousNet(alpha=2, initial_time_d=2, basis=basis, scheme=scheme).eval()
        network.refine()
        x = torch.randn(2, 3, 8, 8)
    assert {p.device.type for p in network.parameters()} == {"meta"}
    if scheme == "rk4":
        assert network(x).shape == (2, 10)
    network.to_empty(device="cpu").load_state_dict(made.state_dict())
    x = torch.randn(2, 3, 8, 8)
    with torch.device("meta"):  # nor does the pass itself make anything there
        found = network(x)
    assert torch.equal(found, made(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@pytest.mark.parametrize("basis", BASES)
def test_the_default_type_changes_nothing(basis: str, dtype: torch.dtype) -> None:
    block = ODEBlock(lambda: nn.Linear(4, 4), 2, scheme="dopri5", basis=basis)
    x = torch.randn(3, 4)
    expected = block(x)
    torch.set_default_dtype(dtype)
    try:
        assert torch.equal(block(x), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_block_in_any_type_is_computed_on_the_meta_device(
    dtype: torch.dtype, gradient: str
) -> None:
    with torch.device("meta"):
        block = ODEBlock(lambda: nn.Linear(4, 4), 2, scheme="rk4", gradient=gradient).to(dtype)
        result = block(torch.ones(3, 4, dtype=dtype))
    assert (result.shape, result.dtype, result.device.type) == ((3, 4), dtype, "meta")
