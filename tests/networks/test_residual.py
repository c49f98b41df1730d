from collections.abc import Callable

import pytest
import torch
from torch import nn

from contnet import ContinuousNet, ResNet, WideContinuousNet, WideResNet


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


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


def test_the_second_convolution_of_a_wide_unit_can_have_the_stride() -> None:
    for stride_in, strides in (("first", (2, 1)), ("second", (1, 2))):
        network = WideResNet(depth=10, alpha=2, stride_in=stride_in)
        f = network.segments[1][0].residual
        assert (f.conv1.stride, f.conv2.stride) == tuple((s, s) for s in strides)
        assert network(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_a_wide_resnet_can_start_with_the_weights_that_pytorch_draws() -> None:
    # uniform in 1 / sqrt(fan in), not normal with sqrt(2 / fan out)
    weight = WideResNet(depth=10, initialisation="pytorch").segments[2][0].residual.conv2.weight
    bound = weight[0].numel() ** -0.5
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    weight = WideResNet(depth=10).segments[2][0].residual.conv2.weight
    assert weight.std().item() == pytest.approx((2 / weight[:, 0].numel()) ** 0.5, rel=0.01)


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
            lambda: WideResNet(stride_in="both"),
            "stride_in must be one of first, second; got 'both'",
        ),
        (
            lambda: WideResNet(initialisation="zeros"),
            "initialisation must be one of he, pytorch; got 'zeros'",
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


def test_resnet_20_and_two_units_of_euler_differ_in_736_parameters_counted_by_hand() -> None:
    continuous = sum(p.numel() for p in ContinuousNet(initial_time_d=2).parameters())
    resnet = sum(p.numel() for p in ResNet(depth=20).parameters())
    assert continuous - resnet == 736
    channels = (16, 32, 64)
    # Both have three units a segment, one of them in the stitch. ContinuousNet's convolutions have
    # biases,
    biases = sum(2 * 3 * c for c in channels)
    # its first stitch has a 1x1 convolution where ResNet has the identity,
    first_shortcut = 16 * 16
    # and its other shortcuts lack the batch norm of ResNet's.
    shortcut_norms = 2 * 32 + 2 * 64
    assert biases + first_shortcut - shortcut_norms == 736
