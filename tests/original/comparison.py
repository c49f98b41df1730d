"""Networks of the package laid beside the original's: the largest differences, in float64."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from functools import cache

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional

from contnet.commands.named import network_factory
from contnet.commands.optimization import optimizer
from contnet.networks import from_original_state_dict
from contnet.ode.depth_time import depth_time
from contnet.training.callbacks.refinement import carry_state
from tests.configuration import composed
from tests.original.continuous import OriginalContinuousNet
from tests.original.residual import OriginalResNet, OriginalWideResNet

N_STEPS = 5
"""Optimizer steps before a refinement, and after it."""

SMALL = ("model.alpha=4", "optimizer.lr=0.01")
"""A small network of the same depth, and a rate at which training does not amplify rounding."""


@dataclass(frozen=True)
class Differences:
    """The largest difference of any number, as a share of the largest number of its tensor.

    What was not measured is None, such as `refined` for networks without depth-time.
    """

    eval: float
    train: float
    gradients: float
    statistics: float
    after_steps: float | None = None
    refined: float | None = None

    @property
    def largest(self) -> float:
        return max(value for value in astuple(self) if value is not None)


@cache
def row_config(row: str, *overrides: str) -> DictConfig:
    """Return the configuration of a row of `experiment=original/` with a small network.

    To compose it takes as long as a test: it is kept, and not to be changed.
    """
    return composed(f"experiment=original/{row}", *SMALL, *overrides)


def original_of(config: DictConfig) -> nn.Module:
    """Return the original's network for a configuration, with random weights and statistics."""
    model = config.model
    name = model._target_.removeprefix("contnet.")
    if name == "ResNet":
        network: nn.Module = OriginalResNet(model.depth, model.alpha)
    elif name == "WideResNet":
        network = OriginalWideResNet(model.depth, model.widen_factor, model.alpha)
    else:
        network = OriginalContinuousNet(
            model.initial_time_d,
            config.scheme.name,
            model.alpha,
            config.scheme.n_time_steps_per,
            model.time_epsilon,
            model.batch_norm,
            model.use_skipinit,
            model.activation_before_conv,
            model.get("widen_factor"),
        )
    return randomised(network.double())


def randomised(network: nn.Module) -> nn.Module:
    """Draw all weights and statistics of a network.

    They are small, so that training does not amplify rounding.
    """
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1 and name.endswith("weight"):
            tensor.uniform_(0.1, 0.3)
        elif tensor.ndim > 2:
            tensor.normal_(std=(2 / tensor.shape[-3:].numel()) ** 0.5)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.1)
    return network


def original_optimizer(network: nn.Module, config: DictConfig) -> torch.optim.Optimizer:
    """Return the original's optimizer, which it makes anew when it refines."""
    decay = 1e-4 if _is_continuous(config) and "rk4" in config.scheme.name else 5e-4
    return torch.optim.SGD(
        network.parameters(), lr=config.optimizer.lr, momentum=0.9, weight_decay=decay
    )


def differences(config: DictConfig, *, training: bool = True) -> Differences:
    """Return the differences of the network of a configuration from the original's.

    Both have the same weights and see the same random images. For `training` they are trained with
    the configuration's optimizer, refined, and trained again.
    """
    torch.manual_seed(0)
    theirs = original_of(config)
    ours = network_factory(config.model)(in_channels=3, num_classes=10).double()
    imported = from_original(theirs.state_dict(), config)
    ours.load_state_dict(imported.state_dict())
    for name, parameter in imported.named_parameters():
        ours.get_parameter(name).requires_grad_(parameter.requires_grad)
    images = torch.randn(2 * N_STEPS + 1, 8, 3, 8, 8, dtype=torch.float64)
    labels = torch.randint(10, (2 * N_STEPS + 1, 8))
    with torch.no_grad():
        in_eval = difference(ours.eval()(images[0]), theirs.eval()(images[0]))
    ours.train(), theirs.train()
    logits = [network(images[0]) for network in (ours, theirs)]
    for one in logits:
        functional.cross_entropy(one, labels[0]).backward()
    in_train = difference(*logits)
    gradients = largest_difference(_gradients(ours), translated(_gradients(theirs), config))
    statistics = _state_difference(ours, theirs, config)
    before = Differences(in_eval, in_train, gradients, statistics)
    if not training:
        return before
    our_optimizer = optimizer(config.optimizer)(ours)
    batches = list(zip(images[1:], labels[1:], strict=True))
    _train(ours, our_optimizer, batches[:N_STEPS])
    _train(theirs, original_optimizer(theirs, config), batches[:N_STEPS])
    after_steps = _state_difference(ours, theirs, config)
    depth = depth_time(ours)
    if depth is None:
        return replace(before, after_steps=after_steps)
    carry_state(our_optimizer, ours, depth.refine(), carry=False)
    assert isinstance(theirs, OriginalContinuousNet)
    theirs.refine()
    _train(ours, our_optimizer, batches[N_STEPS:])
    _train(theirs, original_optimizer(theirs, config), batches[N_STEPS:])
    refined = _state_difference(ours, theirs, config)
    return replace(before, after_steps=after_steps, refined=refined)


def _is_continuous(config: DictConfig) -> bool:
    return str(config.model._target_).endswith("ContinuousNet")


def _train(
    network: nn.Module, optimizer: torch.optim.Optimizer, batches: list[tuple[Tensor, Tensor]]
) -> None:
    for images, labels in batches:
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()


def from_original(state_dict: Mapping[str, Tensor], config: DictConfig) -> nn.Module:
    """Return the network of this package with the weights of one of the original."""
    options = {}
    if _is_continuous(config):
        options = {
            "scheme": config.scheme.name,
            "initial_time_d": config.model.initial_time_d,
            "n_time_steps_per": config.scheme.n_time_steps_per,
            "time_epsilon": config.model.time_epsilon,
        }
    return from_original_state_dict(dict(state_dict), **options)


def translated(state_dict: Mapping[str, Tensor], config: DictConfig) -> dict[str, Tensor]:
    """Return the tensors of a network of the original by their names in this package."""
    return from_original(state_dict, config).state_dict()


def _gradients(network: nn.Module) -> dict[str, Tensor]:
    """Return the gradients by name; what has none is as it is."""
    found = dict(network.state_dict())
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad
    return found


def _state_difference(ours: nn.Module, theirs: nn.Module, config: DictConfig) -> float:
    return largest_difference(ours.state_dict(), translated(theirs.state_dict(), config))


def largest_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Return the largest difference of tensors of the same names."""
    assert a.keys() == b.keys()
    return max(difference(a[name], b[name]) for name in a)


def difference(a: Tensor, b: Tensor) -> float:
    """Return the largest difference, as a share of the largest number in `b`."""
    a, b = a.detach().double(), b.detach().double()
    largest = (a - b).abs().max()
    return (largest / b.abs().max()).item() if largest > 0 else 0.0
