from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from contnet import SCHEMES, ContinuousNet
from contnet.data.normalise import Normalise
from contnet.errors import ConfigError
from contnet.ode.bases import BASES
from contnet.ode.depth_time import depth_time
from contnet.training.classifier import Classifier


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_training_loss_is_smoothed_and_the_logged_one_is_not(smoothing: float) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    normalise = Normalise((0.5,), (0.2,))
    classifier = Classifier(network, normalise, "abc", None, None, {}, label_smoothing=smoothing)  # type: ignore[arg-type]
    images, labels = (
        torch.randint(0, 256, (5, 1, 2, 2), dtype=torch.uint8),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    classifier.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    loss = classifier.training_step((images, labels), 0)
    log_probabilities = network(normalise(images)).log_softmax(1)
    targets = torch.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    assert torch.allclose(loss, -(targets * log_probabilities).sum(1).mean())
    logged = classifier.scores["train_score"].loss.compute()
    assert torch.allclose(logged, nn.functional.cross_entropy(network(normalise(images)), labels))


class ValuesLookedAt(TorchDispatchMode):
    """Record each operation that waits for the device to read the values in a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize(
    ("scheme", "basis"),
    [*((s, "piecewise_constant") for s in SCHEMES), *(("rk4", basis) for basis in BASES)],
)
def test_a_training_step_never_waits_for_the_device(scheme: str, basis: str, gradient: str) -> None:
    network = ContinuousNet(
        alpha=2, initial_time_d=2, scheme=scheme, gradient=gradient, basis=basis
    )
    classifier = Classifier(
        network, Normalise((0.5,) * 3, (0.2,) * 3), "0123456789", None, None, {}
    )  # type: ignore[arg-type]
    classifier.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    images, labels = (
        torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8),
        torch.tensor([0, 1, 2, 9]),
    )
    with ValuesLookedAt() as watch, torch.autocast("cpu", torch.bfloat16):
        classifier.training_step((images, labels), 0).backward()
        optimizer.step()
    assert watch.seen == []
    with ValuesLookedAt() as watch:
        images.sum().item()
    assert watch.seen == ["aten._local_scalar_dense.default"]


def test_nodes_that_would_not_learn_are_refused_on_several_devices() -> None:
    network = ContinuousNet(alpha=2, initial_time_d=3, basis="continuous_linear")
    classifier = Classifier(
        network, Normalise((0.5,) * 3, (0.2,) * 3), "0123456789", None, None, {}
    )  # type: ignore[arg-type]
    classifier._trainer = SimpleNamespace(world_size=2, lr_scheduler_configs=[])  # type: ignore[assignment]
    assert depth_time(network).blocks[0].unvisited == []
    classifier.on_fit_start()
    network.set_manifestation(n_time_steps=2)
    assert depth_time(network).blocks[0].unvisited == [2]
    with pytest.raises(
        ConfigError, match=r"make use of all nodes .*; euler in 2 steps never looks up node 2"
    ):
        classifier.on_fit_start()
