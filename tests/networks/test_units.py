import copy

import pytest
import torch
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from contnet import ContinuousNet
from contnet.invariance.recalibration import recalibrated
from contnet.networks.held_norm import HeldBatchNorm2d
from contnet.networks.units import conv1x1
from contnet.ode.norms import batch_norms, norms


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


def post_activation() -> ContinuousNet:
    """Return a network whose held norms would change its logits if they were applied."""
    network = ContinuousNet(alpha=2, initial_time_d=2, stitch_norm="first")
    for module in network.modules():
        if isinstance(module, HeldBatchNorm2d):
            nn.init.uniform_(module.weight, 2, 3)
            nn.init.uniform_(module.running_var, 2, 3)
    return network


def test_synchronised_batch_norms_do_not_apply_what_is_held() -> None:
    network, x = post_activation().eval(), torch.randn(4, 3, 8, 8)
    expected = network(x)
    # They compute on a CPU in evaluation mode alone.
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))
    assert isinstance(converted.stem[1], nn.SyncBatchNorm)
    torch.testing.assert_close(converted(x), expected)
    sync = TorchSyncBatchNorm()
    applied = sync.apply(copy.deepcopy(network))
    torch.testing.assert_close(applied(x), expected)
    reverted = sync.revert(applied).eval()
    assert not isinstance(reverted.stem[1], nn.SyncBatchNorm)
    torch.testing.assert_close(reverted(x), expected)
    assert reverted.state_dict().keys() == network.state_dict().keys()


def test_a_held_norm_is_no_norm_of_the_network() -> None:
    network = post_activation()
    held = network.stitches[0].residual.bn2
    assert held not in [*norms(network), *batch_norms(network)]
    applied = ContinuousNet(alpha=2, initial_time_d=2)
    assert len(list(norms(network))) == len(list(norms(applied))) - 3
    assert held.state_dict().keys() == nn.BatchNorm2d(2).state_dict().keys()
    before = copy.deepcopy(held.state_dict())
    images = [torch.randn(4, 3, 8, 8) for _ in range(2)]
    with recalibrated(network.eval(), images):
        assert all(torch.equal(before[name], one) for name, one in held.state_dict().items())


def test_a_state_dict_with_statistics_of_several_manifestations_of_a_held_norm_loads() -> None:
    # Held norms were batch norms once, and kept such statistics, which nothing reads.
    network = post_activation()
    weights = network.state_dict()
    name = "stitches.1.residual.bn2.by_manifestation"
    weights |= {f"{name}.running_mean": torch.ones(2, 4), f"{name}.trained": torch.ones(2)}
    other = post_activation()
    other.load_state_dict(weights)
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(other(images), network(images))
    assert f"{name}.trained" in weights
    with pytest.raises(RuntimeError, match=r"Unexpected key.*bn2\.other"):
        other.load_state_dict({**network.state_dict(), "stitches.1.residual.bn2.other": images})
