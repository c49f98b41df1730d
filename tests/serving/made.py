"""Trained networks that were not trained."""

from functools import partial

import torch
from torch import nn

from contnet.data.preprocessing import Preprocessing
from contnet.ode import statistics
from contnet.ode.depth_time import depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import SCHEMES
from contnet.runs.names import imported
from contnet.serving.blueprint import Blueprint
from contnet.serving.trained import TrainedNetwork

COLOUR = Preprocessing((3, 8, 8), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
CLASSES = ("cat", "dog", "é")
SET = (Manifestation(SCHEMES["euler"], 2), Manifestation(SCHEMES["rk4_classic"], 1))

CONTINUOUS = {"_target_": "contnet.ContinuousNet", "alpha": 2, "initial_time_d": 2}
NETWORKS = {
    "post-activation": CONTINUOUS,
    "pre-activation": {**CONTINUOUS, "activation_before_conv": True},
    "wide": {"_target_": "contnet.WideContinuousNet", "alpha": 1, "widen_factor": 2},
    "SkipInit": {**CONTINUOUS, "use_skipinit": True, "batch_norm": False},
    "no stitch": {**CONTINUOUS, "stitch": False},
    "piecewise linear": {**CONTINUOUS, "basis": "piecewise_linear"},
    "continuous linear": {**CONTINUOUS, "basis": "continuous_linear"},
    "Legendre": {**CONTINUOUS, "basis": "legendre"},
    "midpoint": {**CONTINUOUS, "scheme": "midpoint", "n_time_steps_per": 2},
    "heun3": {**CONTINUOUS, "scheme": "heun3"},
    "rk4_classic": {**CONTINUOUS, "scheme": "rk4_classic", "time_epsilon": 1.5},
    "adaptive": {**CONTINUOUS, "scheme": "dopri5", "rtol": 1e-2, "control": "image"},
    "ResNet": {"_target_": "contnet.ResNet", "alpha": 2, "depth": 8},
    "WideResNet": {"_target_": "contnet.WideResNet", "alpha": 1, "depth": 10, "dropout": 0.3},
    "own rate": {**CONTINUOUS, "rate": {"_target_": "tests.serving.made.Rate", "slope": 0.5}},
    "own network": {
        "_target_": "tests.serving.made.Net",
        "activation": {"_target_": "tests.serving.made.Activation", "slopes": [0.5]},
    },
}
"""The node of each kind of network."""


class Activation(nn.Module):
    def __init__(self, slopes: list[float]) -> None:
        super().__init__()
        self.slopes = slopes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.leaky_relu(x, self.slopes[0])


class Rate(nn.Module):
    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, channels, 1), Activation([slope]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Net(nn.Sequential):
    def __init__(self, in_channels: int, num_classes: int, activation: nn.Module) -> None:
        flat = nn.Flatten(), nn.Linear(64 * in_channels, 4), nn.BatchNorm1d(4)
        super().__init__(*flat, activation, nn.Linear(4, num_classes))


def trained(
    model: dict, *, refined: bool = False, several: bool = False, dtype: torch.dtype = torch.float32
) -> TrainedNetwork:
    """Return a network with random weights, and statistics that batches have changed."""
    target = imported("model", model["_target_"])
    options = {name: value for name, value in model.items() if name != "_target_"}
    if "rate" in options:
        options["rate"] = partial(Rate, slope=model["rate"]["slope"])
    if "activation" in options:
        options["activation"] = Activation(model["activation"]["slopes"])
    torch.manual_seed(3)
    network = target(in_channels=3, num_classes=len(CLASSES), **options).to(dtype)
    depth = depth_time(network)
    if depth is not None and refined:
        depth.refine()
    if depth is not None and several:
        statistics.provide(network, SET)
    for one in SET if several else (None,):
        if depth is not None and one is not None:
            depth.set_manifestation(one.scheme, one.n_time_steps)
        network.train()(torch.randn(8, 3, 8, 8, dtype=dtype) + 0.3)
    blueprint = Blueprint(
        model=model,
        classes=CLASSES,
        preprocessing=COLOUR,
        channels_last=True,
        depth=depth.depths if depth else (),
        manifestations=SET if several else (),
    )
    return TrainedNetwork(network.to(memory_format=torch.channels_last), blueprint)


def images(n: int = 4) -> torch.Tensor:
    """Return random pixels (n, 3, 8, 8)."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(256, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)
