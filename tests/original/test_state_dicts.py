"""Weights of the original come over by its names, from a plain state dict."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from contnet import ContinuousNet, ResNet, WideContinuousNet, WideResNet
from contnet.networks import from_original_state_dict
from tests.original.comparison import difference, randomised
from tests.original.continuous import OriginalContinuousNet
from tests.original.residual import OriginalResNet, OriginalWideResNet

ROUNDING = 1e-12

IMAGES = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def made(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return randomised(make().double()).eval()


def equal(ours: nn.Module, theirs: nn.Module) -> bool:
    with torch.no_grad():
        return difference(ours(IMAGES), theirs(IMAGES)) < ROUNDING


POST = {"before": False}
PRE = {"before": True}
CONTINUOUS = {
    "post-activation": POST,
    "without batch norm": {**POST, "use_batch_norms": False},
    "SkipInit": {**POST, "use_skipinit": True},
    "SkipInit without batch norm": {**POST, "use_skipinit": True, "use_batch_norms": False},
    "pre-activation": PRE,
    "pre-activation, SkipInit": {**PRE, "use_skipinit": True},
    "wide": {**PRE, "widen_factor": 4},
    "wide, SkipInit": {**PRE, "widen_factor": 2, "use_skipinit": True},
    "wide, no wider": {**PRE, "widen_factor": 1},
    "wide, post-activation": {**POST, "widen_factor": 2},
    "100 classes": {**POST, "num_classes": 100},
}


@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("options", CONTINUOUS.values(), ids=CONTINUOUS)
def test_a_continuous_network_computes_what_it_did(options: dict[str, Any], n: int) -> None:
    theirs = made(lambda: OriginalContinuousNet(n, "midpoint", **options))
    ours = from_original_state_dict(theirs.state_dict(), scheme="midpoint")
    assert type(ours) is (WideContinuousNet if "widen_factor" in options else ContinuousNet)
    assert not ours.training
    assert equal(ours, theirs)


def test_what_no_tensor_holds_is_given() -> None:
    theirs = made(
        lambda: OriginalContinuousNet(2, "rk4", n_time_steps_per=2, time_epsilon=1.5, alpha=3)
    )
    theirs.refine()
    told = {"scheme": "rk4", "n_time_steps_per": 2, "time_epsilon": 1.5, "initial_time_d": 2}
    weights = theirs.state_dict()
    assert equal(from_original_state_dict(weights, **told), theirs)
    for name in told:
        less = {key: value for key, value in told.items() if key != name}
        assert not equal(from_original_state_dict(weights, **less), theirs), name


@pytest.mark.parametrize("n_refined", [1, 3])
def test_a_refined_network_has_the_steps_and_the_epsilon_that_it_had(n_refined: int) -> None:
    theirs = made(lambda: OriginalContinuousNet(1, "rk4_classic"))
    for _ in range(n_refined):
        theirs.refine()
    randomised(theirs)
    options: dict[str, Any] = {"scheme": "rk4_classic", "initial_time_d": 1}
    ours = from_original_state_dict(theirs.state_dict(), **options)
    assert [block.n_basis for block in ours.blocks] == [2**n_refined] * 3
    assert [block.n_time_steps for block in ours.blocks] == [2**n_refined] * 3
    assert equal(ours, theirs)


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_a_resnet_computes_what_it_did(depth: int) -> None:
    theirs = made(lambda: OriginalResNet(depth, num_classes=100))
    ours = from_original_state_dict(theirs.state_dict())
    assert type(ours) is ResNet
    assert equal(ours, theirs)


@pytest.mark.parametrize(("depth", "widen_factor"), [(10, 1), (16, 4), (58, 2)])
def test_a_wide_resnet_computes_what_it_did(depth: int, widen_factor: int) -> None:
    theirs = made(lambda: OriginalWideResNet(depth, widen_factor))
    ours = from_original_state_dict(theirs.state_dict())
    assert type(ours) is WideResNet
    assert equal(ours, theirs)


def test_a_file_of_a_network_in_data_parallel_is_read_as_data(tmp_path: Path) -> None:
    theirs = made(lambda: OriginalResNet(8))
    torch.save(nn.DataParallel(theirs).state_dict(), tmp_path / "resnet.pt")
    weights = torch.load(tmp_path / "resnet.pt", weights_only=True)
    assert {name.split(".")[0] for name in weights} == {"module"}
    assert equal(from_original_state_dict(weights), theirs)


def test_weights_keep_their_type_and_are_copied() -> None:
    for dtype in (torch.float32, torch.float64):
        weights = OriginalContinuousNet(2, "euler").to(dtype).state_dict()
        network = from_original_state_dict(weights)
        assert {parameter.dtype for parameter in network.parameters()} == {dtype}
        with torch.no_grad():
            network.stem[0].weight.zero_()
        assert weights["net.0.weight"].any()


@pytest.mark.parametrize("before", [True, False])
def test_factors_that_the_original_does_not_apply_are_not_trained(before: bool) -> None:
    theirs = made(lambda: OriginalContinuousNet(2, "euler", before=before, use_skipinit=True))
    ours = from_original_state_dict(theirs.state_dict())
    factors = {name: one for name, one in ours.named_parameters() if "skipinit" in name}
    fixed = {name for name, one in factors.items() if not one.requires_grad}
    not_applied = {name for name in factors if "stitches" in name} if before else set()
    assert fixed == not_applied
    assert all(factors[name] == 1 for name in fixed)


def changed(network: nn.Module, **tensors: Tensor | None) -> dict[str, Tensor]:
    """Return a state dict with other tensors at some names; None leaves one out."""
    weights = dict(network.state_dict())
    for name, tensor in tensors.items():
        if tensor is None:
            del weights[name]
        else:
            weights[name] = tensor
    return weights


CONTINUOUS_2 = OriginalContinuousNet(2, "euler")
RESNET = OriginalResNet(8)
WIDE = OriginalWideResNet(10, 2)


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        (RESNET, "state_dict must be tensors by name, as torch.load(..., weights_only=True)"),
        ({"conv1.weight": 1}, "for a saved network.state_dict(), got dict"),
        ({}, "of the original code, got one with no tensors"),
        ({"features.0.weight": torch.zeros(2)}, "original code, got one with 'features.0.weight'"),
        (ContinuousNet().state_dict(), "original code, got one with 'blocks.0.nodes.0.bn1.bias'"),
        (
            changed(CONTINUOUS_2, **{"net.4.net.L1.weight": None}),
            "state_dict lacks 'net.4.net.L1.weight', which networks of the original code have",
        ),
        (
            changed(CONTINUOUS_2, **{"net.6.net.bn2.bns.1.bias": None, "net.5.L2.bias": None}),
            "lacks 'net.5.L2.bias', 'net.6.net.bn2.bns.1.bias' of a ContinuousNet of the original",
        ),
        (
            changed(CONTINUOUS_2, **{"net.4.net.L3.weight": torch.zeros(1)}),
            "must hold a ContinuousNet of the original code alone, got 'net.4.net.L3.weight' too",
        ),
        (
            changed(CONTINUOUS_2, **{"net.6.net.L2.bias": torch.zeros(3, 4)}),
            "state_dict['net.6.net.L2.bias'] must have the shape (2, 4) to fit the other tensors, "
            "got (3, 4)",
        ),
        (
            changed(CONTINUOUS_2, **{"net.0.weight": torch.zeros(2, 3, 7, 7)}),
            "state_dict['net.0.weight'] must have the shape (2, 3, 3, 3)",
        ),
        (
            changed(CONTINUOUS_2, **{"net.0.weight": torch.zeros(2)}),
            "state_dict['net.0.weight'] must have 4 dimensions other than 0, got (2,)",
        ),
        (
            changed(CONTINUOUS_2, **{"net.4.net.L1.weight": torch.zeros(0, 2, 2, 3, 3)}),
            "state_dict['net.4.net.L1.weight'] must have 5 dimensions other than 0",
        ),
        (
            changed(RESNET, **{"layer2.0.downsample.1.running_var": None}),
            "state_dict lacks 'layer2.0.downsample.1.running_var' of a ResNet of the original code",
        ),
        (
            {name: one for name, one in RESNET.state_dict().items() if "bn" not in name},
            "lacks 'bn1.bias', 'bn1.num_batches_tracked', 'bn1.running_mean' and 32 more",
        ),
        (
            changed(RESNET, **{"layer1.0.conv1.weight": torch.zeros(2, 3, 3, 3)}),
            "state_dict['layer1.0.conv1.weight'] must have the shape (2, 2, 3, 3)",
        ),
        (
            changed(WIDE, **{"linear.bias": torch.zeros(9)}),
            "state_dict['linear.bias'] must have the shape (10,) to fit the other tensors",
        ),
        (
            changed(RESNET, **{"fc.bias": torch.zeros(10, dtype=torch.int64)}),
            "state_dict['fc.bias'] must be of the type float16, bfloat16, float32 or float64, "
            "got int64",
        ),
        (
            changed(CONTINUOUS_2, **{"net.0.weight": torch.zeros(2, 3, 3, 3, dtype=torch.bool)}),
            "state_dict['net.0.weight'] must be of the type float16, bfloat16, float32 or float64, "
            "got bool",
        ),
        (
            changed(WIDE, **{"conv1.weight": torch.zeros(2, 3, 3, 3, dtype=torch.complex64)}),
            "state_dict['conv1.weight'] must be of the type float16, bfloat16, float32 or float64, "
            "got complex64",
        ),
        (
            changed(WIDE, **{"conv1.bias": torch.zeros(2, dtype=torch.float64)}),
            "state_dict['conv1.bias'] must be of the type float32 of 'conv1.weight', got float64",
        ),
        (
            changed(RESNET, **{"bn1.num_batches_tracked": torch.tensor(1.5)}),
            "state_dict['bn1.num_batches_tracked'] must be of the type int64, got float32",
        ),
        (
            changed(RESNET, **{"fc.weight": torch.zeros(10, 8).to_sparse()}),
            "state_dict['fc.weight'] must be a dense tensor with values, got sparse_coo on cpu",
        ),
        (
            changed(RESNET, **{"fc.weight": torch.zeros(10, 8, device="meta")}),
            "state_dict['fc.weight'] must be a dense tensor with values, got strided on meta",
        ),
    ],
)
def test_what_is_no_network_of_the_original_is_refused(state_dict: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        from_original_state_dict(state_dict)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "eulerr"}, "eulerr"),
        ({"initial_time_d": 3}, "initial_time_d must become the 2 nodes of state_dict by doubling"),
        ({"initial_time_d": 0}, "initial_time_d must be a whole number of at least 1, got 0"),
        ({"n_time_steps_per": 0}, "n_time_steps_per must be a whole number of at least 1, got 0"),
        ({"time_epsilon": -1}, "time_epsilon must be a number greater than 0, got -1"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        from_original_state_dict(CONTINUOUS_2.state_dict(), **options)


@pytest.mark.parametrize("network", [RESNET, WIDE])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scheme", "midpoint"),
        ("scheme", "eulerr"),
        ("n_time_steps_per", 2),
        ("n_time_steps_per", True),
        ("initial_time_d", 1),
        ("time_epsilon", -1),
    ],
)
def test_arguments_of_continuous_networks_are_refused_for_others(
    network: nn.Module, name: str, value: object
) -> None:
    message = f"{name} must be left out for a {type(network).__name__.removeprefix('Original')}"
    with pytest.raises(ValueError, match=f"{message}, .*, got {value!r}"):
        from_original_state_dict(network.state_dict(), **{name: value})
