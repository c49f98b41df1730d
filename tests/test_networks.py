import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from contnet import SCHEMES, ContinuousNet, ResNet, WideContinuousNet, WideResNet
from contnet.networks import continuous
from contnet.networks.units import SkipConnection, conv1x1
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


@pytest.mark.parametrize(("channels", "size"), [(3, 7), (8, 64), (12, 96), (16, 64)])
def test_a_strided_1x1_convolution_is_pytorchs_of_any_width(channels: int, size: int) -> None:
    x = torch.randn(4, channels, size, size, requires_grad=True)
    narrow_or_wide = conv1x1(channels, 2 * channels, stride=2, bias=True)
    gradient = torch.randn(4, 2 * channels, (size + 1) // 2, (size + 1) // 2)
    variables = [x, *narrow_or_wide.parameters()]

    def of(y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (y, *torch.autograd.grad(y, variables, gradient))

    # Contiguous, where oneDNN overruns nothing.
    expected = of(nn.functional.conv2d(x, narrow_or_wide.weight, narrow_or_wide.bias, stride=2))
    ours = of(narrow_or_wide(x.to(memory_format=torch.channels_last)))
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


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


@pytest.mark.parametrize(("depth", "parameters"), [(20, 272_474), (56, 855_770)])
def test_a_resnet_has_the_parameters_of_the_design(depth: int, parameters: int) -> None:
    assert n_parameters(ResNet(depth=depth)) == parameters


def test_wide_networks_have_the_parameters_of_the_design() -> None:
    assert n_parameters(WideResNet(depth=58, widen_factor=4, num_classes=100)) == 13_631_108
    wide = WideContinuousNet(num_classes=100, widen_factor=4, initial_time_d=8)
    assert n_parameters(wide) == 13_630_676
    assert [stitch.residual.bn1.num_features for stitch in wide.stitches] == [16, 64, 128]


def test_a_wide_network_that_is_not_wider_has_no_first_stitch() -> None:
    network = WideContinuousNet(widen_factor=1)
    assert isinstance(network.stitches[0], nn.Identity)
    plain = ContinuousNet(activation_before_conv=True)
    assert n_parameters(plain) - n_parameters(network) == n_parameters(plain.stitches[0])


def test_a_residual_unit_of_a_resnet_is_what_it_says() -> None:
    network = ResNet(depth=8, alpha=4).eval()
    x = torch.randn(2, 4, 8, 8)
    unit, strided = network.segments[0][0], network.segments[1][0]
    f = unit.residual
    relu = nn.functional.relu
    assert torch.equal(unit(x), x + f.bn2(relu(f.conv2(f.bn1(relu(f.conv1(x)))))))
    f = strided.residual
    shortcut = strided.shortcut[1](strided.shortcut[0](x))
    assert torch.equal(strided(x), shortcut + f.bn2(relu(f.conv2(f.bn1(relu(f.conv1(x)))))))
    wide = WideResNet(depth=10, alpha=4, widen_factor=1, dropout=0.5).eval()
    unit = wide.segments[0][0]
    f = unit.residual
    expected = x + f.conv2(relu(f.bn2(f.conv1(relu(f.bn1(x))))))
    assert torch.equal(unit(x), expected)
    unit.train()
    torch.manual_seed(0)
    dropped = unit(x)
    torch.manual_seed(1)
    assert not torch.equal(dropped, unit(x))


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # torch.compile looks at it
@pytest.mark.parametrize(
    ("scheme", "gradient", "at_once", "n_compilations"),
    [
        ("rk4", "backprop", True, 1),
        ("rk4", "backprop", False, 6),  # a stitch and a step in each of three segments
        ("rk4", "checkpoint", True, 9),  # and each step once more for the way back
        ("bosh3", "backprop", True, 6),
        (
            "dopri5",
            "adjoint",
            True,
            12,
        ),  # the stitches, the rates, and these without and with a gradient, to go back
    ],
)
@pytest.mark.parametrize("depth", [1, 2])
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
        ("rk4", "checkpoint", "continuous_linear", 4, 15),
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
        ({"num_classes": 1}, "num_classes must be a whole number of at least 2, got 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContinuousNet(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet(depth=21), r"depth must be 6 n \+ 2, such as 20 or 26, got 21"),
        (lambda: ResNet(depth=2), "depth must be a whole number of at least 8, got 2"),
        (lambda: WideResNet(depth=20), r"depth must be 6 n \+ 4, such as 16 or 22, got 20"),
        (
            lambda: WideResNet(widen_factor=0),
            "widen_factor must be a whole number of at least 1, got 0",
        ),
        (
            lambda: WideResNet(dropout=1),
            "dropout must be a number at least 0 and less than 1, got 1",
        ),
        (
            lambda: WideContinuousNet(widen_factor=1.5),
            "widen_factor must be a whole number of at least 1, got 1.5",
        ),
    ],
)
def test_shapes_that_there_are_not_are_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
