import copy

import pytest
import torch
from torch import nn

from contnet import SCHEMES, ContinuousNet
from contnet.networks.units import SkipConnection
from contnet.ode.depth_time import depth_time


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


DEPTHS = (1, 2, 4, 8, 16)


COUNTS = [
    ({}, (175_770, 273_210, 468_090, 857_850, 1_637_370)),
    ({"batch_norm": False}, (174_842, 271_834, 465_818, 853_786, 1_629_722)),
    ({"use_skipinit": True}, (175_776, 273_219, 468_105, 857_877, 1_637_421)),
    ({"activation_before_conv": True}, (175_802, 273_242, 468_122, 857_882, 1_637_402)),
]


@pytest.mark.parametrize(("options", "counts"), COUNTS, ids=[str(options) for options, _ in COUNTS])
def test_parameter_counts(options: dict, counts: tuple[int, ...]) -> None:
    for depth, count in zip(DEPTHS, counts, strict=True):
        network = ContinuousNet(initial_time_d=depth, **options)
        assert n_parameters(network) == count


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("options", [options for options, _ in COUNTS], ids=str)
def test_with_euler_the_network_is_a_plain_residual_network_to_the_last_bit(
    options: dict, training: bool
) -> None:
    network = ContinuousNet(initial_time_d=3, alpha=4, **options).train(training)
    with torch.no_grad():  # else SkipInit leaves nothing to compare
        for name, parameter in network.named_parameters():
            if name.endswith("skipinit.scale"):
                parameter.fill_(0.7)
    plain = copy.deepcopy(network)
    x = torch.randn(2, 3, 16, 16)

    expected = plain.stem(x)
    for stitch, block in zip(plain.stitches, plain.blocks, strict=True):
        expected = stitch.shortcut(expected) + 1.0 * stitch.residual(expected)
        for unit in block.nodes:
            expected = expected + unit(expected)
    expected = plain.head(expected)

    assert torch.equal(network(x), expected)
    for (name, buffer), other in zip(network.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(buffer, other), name


def test_epsilon_follows_the_depth_and_a_stitch_keeps_that_of_its_construction() -> None:
    network = ContinuousNet(initial_time_d=4, n_time_steps_per=2, scheme="midpoint")
    assert [block.epsilon for block in network.blocks] == [4.0] * 3
    assert [stitch.epsilon for stitch in network.stitches] == [0.5] * 3
    assert depth_time(network).n_time_steps == 8
    network.set_manifestation(scheme="rk4", n_time_steps=3)
    assert [stitch.epsilon for stitch in network.stitches] == [0.5] * 3
    assert network.n_f_evals == 3 * 3 * 4


def test_without_stitch_plain_strided_convolutions_join_the_segments() -> None:
    network = ContinuousNet(stitch=False)
    assert isinstance(network.stitches[0], nn.Identity)
    assert [tuple(stitch.weight.shape) for stitch in network.stitches[1:]] == [
        (32, 16, 1, 1),
        (64, 32, 1, 1),
    ]
    assert all(stitch.bias is None and stitch.stride == (2, 2) for stitch in network.stitches[1:])
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_skipinit_starts_every_unit_and_stitch_as_its_shortcut() -> None:
    for activation_before_conv in (False, True):
        network = ContinuousNet(use_skipinit=True, activation_before_conv=activation_before_conv)
        x = torch.randn(2, 16, 8, 8)
        stitch, block = network.stitches[0], network.blocks[0]
        assert torch.equal(stitch(x), stitch.shortcut(x))
        assert torch.equal(block(x), x)


def test_with_stitch_norm_first_a_stitch_holds_its_second_norm_without_applying_it() -> None:
    network = ContinuousNet(alpha=2, stitch_norm="first")
    assert network.state_dict().keys() == ContinuousNet(alpha=2).state_dict().keys()
    assert n_parameters(network) == n_parameters(ContinuousNet(alpha=2))
    stitch, x = network.stitches[1], torch.randn(4, 2, 8, 8)
    f, relu = stitch.residual, nn.functional.relu
    applied = relu(f.conv2(f.bn1(relu(f.conv1(x)))))
    assert torch.equal(stitch(x), stitch.shortcut(x) + stitch.epsilon * applied)
    assert f.bn1.num_batches_tracked == 2
    assert f.bn2.num_batches_tracked == 0
    # DistributedDataParallel would wait for their gradients.
    held = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert held == {
        f"stitches.{i}.residual.bn2.{name}" for i in range(3) for name in ("weight", "bias")
    }
    without = ContinuousNet(alpha=2, stitch_norm="first", batch_norm=False)
    assert all(parameter.requires_grad for parameter in without.parameters())


def test_without_batch_norm_there_is_none() -> None:
    for activation_before_conv in (False, True):
        network = ContinuousNet(batch_norm=False, activation_before_conv=activation_before_conv)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_initialisation() -> None:
    network = ContinuousNet(alpha=64, initial_time_d=2)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            k = module.kernel_size[0]
            expected = (2 / (k * k * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05), name
            if module.bias is not None and ".nodes." in name:
                assert torch.equal(module.bias, torch.zeros_like(module.bias)), name
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight)), name
            assert torch.equal(module.bias, torch.zeros_like(module.bias)), name


def test_the_pre_activation_head_has_a_batch_norm_of_momentum_0_9() -> None:
    assert ContinuousNet(activation_before_conv=True).head.bn.momentum == 0.9
    assert not hasattr(ContinuousNet().head, "bn")


def test_a_pre_activation_stitch_normalises_the_channels_that_come_in() -> None:
    stitches = ContinuousNet(activation_before_conv=True).stitches
    assert [stitch.residual.bn1.num_features for stitch in stitches] == [16, 16, 32]
    assert [stitch.residual.bn2.num_features for stitch in stitches] == [16, 32, 64]
    assert all(isinstance(stitch, SkipConnection) for stitch in stitches)


@pytest.mark.parametrize("scheme", [*SCHEMES, "dopri5"])
def test_gradients_reach_every_parameter_under_every_scheme(scheme: str) -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2, scheme=scheme)
    nn.functional.cross_entropy(network(torch.randn(4, 3, 8, 8)), torch.arange(4)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0}, "alpha must be a whole number of at least 1, got 0"),
        ({"initial_time_d": -2}, "initial_time_d must be a whole number of at least 1, got -2"),
        ({"batch_norm": "yes"}, "batch_norm must be true or false, got 'yes'"),
        ({"time_epsilon": float("nan")}, "time_epsilon must be a number greater than 0, got nan"),
        ({"stitch_norm": "none"}, "stitch_norm must be one of both, first; got 'none'"),
        (
            {"stitch_norm": "first", "activation_before_conv": True},
            "stitch_norm must be both with activation_before_conv=true, got 'first'",
        ),
        (
            {"stitch_norm": "first", "stitch": False},
            "stitch_norm must be both with stitch=false, which leaves no norm to hold, got 'first'",
        ),
        ({"num_classes": 1}, "num_classes must be a whole number of at least 2, got 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContinuousNet(**arguments)
