import pytest
import torch
from torch import nn

from contnet.networks.units import conv1x1


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
