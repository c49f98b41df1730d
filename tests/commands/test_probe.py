"""One image passes through a network of the user's own, and leaves no trace."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from contnet import ODEBlock
from contnet.commands.probe import check_shapes
from contnet.errors import ConfigError
from contnet.ode.integrate import IntegrationError

IMAGE = torch.zeros(1, 1, 8, 8)


class Net(nn.Module):
    """A network of one ODE block with the rates that `rate` makes."""

    def __init__(self, rate: Any, num_classes: int = 10, **settings: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout())
        self.block = ODEBlock(rate, **settings)
        self.head = nn.Linear(4, num_classes)
        self.register_buffer("n_passes", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.n_passes += 1
        torch.rand(1)
        logits: Tensor = self.head(self.block(self.stem(x)).mean((2, 3)))
        return logits


def convolution() -> nn.Module:
    return nn.Conv2d(4, 4, 3, padding=1)


@pytest.mark.parametrize(
    ("rate", "after"),
    [
        (lambda: nn.AdaptiveAvgPool2d(1), (1, 4, 1, 1)),  # would be broadcast, without an error
        (lambda: nn.Conv2d(4, 1, 1), (1, 1, 8, 8)),
        (lambda: nn.Conv2d(4, 8, 1), (1, 8, 8, 8)),
        (lambda: nn.Conv2d(4, 4, 3, stride=2, padding=1), (1, 4, 4, 4)),
    ],
)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_basis": 4, "basis": "legendre", "n_time_steps": 3},
        {"scheme": "dopri5"},
        {"scheme": "rk4", "gradient": "adjoint"},
    ],
)
def test_a_rate_of_another_shape_is_refused_with_both_shapes(
    rate: Any, after: tuple[int, ...], settings: dict[str, Any]
) -> None:
    network = Net(rate, **settings)
    kind = type(network.block.nodes[0]).__name__
    with pytest.raises(ConfigError) as raised:
        check_shapes(network, IMAGE, 10, "mine.Net", "")
    assert str(raised.value) == (
        f"model: the rate {kind} in mine.Net must keep the shape of its input; "
        f"(1, 4, 8, 8) became {after}"
    )
    with pytest.raises(ConfigError, match=r"^model\.rate: mine\.Rate must keep the shape of its"):
        check_shapes(network, IMAGE, 10, "contnet.ContinuousNet", "mine.Rate")


def test_a_rate_that_returns_no_tensor_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(ConfigError, match=r"\(1, 4, 8, 8\) became a tuple"):
        check_shapes(Net(Pair), IMAGE, 10, "mine.Net", "")


def test_logits_of_other_classes_are_refused_with_both_shapes() -> None:
    with pytest.raises(ConfigError) as raised:
        check_shapes(Net(convolution, num_classes=7), IMAGE, 10, "mine.Net", "")
    assert str(raised.value) == (
        "model: mine.Net must return logits (1, 10) for an image (1, 1, 8, 8); it returned (1, 7)"
    )


@pytest.mark.parametrize("scheme", ["euler", "dopri5"])
def test_the_trial_leaves_the_network_and_the_random_numbers_alone(scheme: str) -> None:
    network = Net(convolution, scheme=scheme)
    network.stem[1].eval()
    untouched, state = copy.deepcopy(network), torch.get_rng_state()
    check_shapes(network, IMAGE, 10, "mine.Net", "")
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in untouched.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    modes = [[module.training for module in one.modules()] for one in (untouched, network)]
    assert modes[0] == modes[1]
    assert network.block.n_f_evals == untouched.block.n_f_evals
    assert network.block(torch.zeros(1, 4, 8, 9)).shape == (1, 4, 8, 9)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_lazy_network_has_its_parameters_afterwards() -> None:
    network = nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10)
    )
    check_shapes(network, IMAGE, 10, "mine.Net", "")
    assert sum(parameter.numel() for parameter in network.parameters()) == 40 + 8 + 1_450
    assert network.training
    assert network[1].num_batches_tracked == 0


def test_steps_that_an_adaptive_scheme_cannot_take_are_no_fault_of_the_shapes() -> None:
    class Steep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.inf

    network = Net(Steep, scheme="dopri5").eval()
    with pytest.raises(IntegrationError):
        network(IMAGE)
    check_shapes(network, IMAGE, 10, "mine.Net", "")
