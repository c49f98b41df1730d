"""Continuous-in-depth networks: residual networks whose runs of residual units are ODE blocks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contnet.errors import ConfigError
    from contnet.invariance.dial import cheapest
    from contnet.networks.continuous import ContinuousNet, WideContinuousNet
    from contnet.networks.residual import ResNet, WideResNet
    from contnet.ode.block import ODEBlock
    from contnet.ode.embedded import EmbeddedPair
    from contnet.ode.projection import project
    from contnet.ode.schemes import ADAPTIVE_SCHEMES, SCHEMES, AdaptiveScheme, Scheme
    from contnet.serving.loading import load
    from contnet.serving.trained import TrainedNetwork

__version__ = "0.1.0"

__all__ = [
    "ADAPTIVE_SCHEMES",
    "SCHEMES",
    "AdaptiveScheme",
    "ConfigError",
    "ContinuousNet",
    "EmbeddedPair",
    "ODEBlock",
    "ResNet",
    "Scheme",
    "TrainedNetwork",
    "WideContinuousNet",
    "WideResNet",
    "cheapest",
    "load",
    "project",
]

_HOMES = {
    "ADAPTIVE_SCHEMES": "contnet.ode.schemes",
    "SCHEMES": "contnet.ode.schemes",
    "AdaptiveScheme": "contnet.ode.schemes",
    "ConfigError": "contnet.errors",
    "ContinuousNet": "contnet.networks.continuous",
    "EmbeddedPair": "contnet.ode.embedded",
    "ODEBlock": "contnet.ode.block",
    "ResNet": "contnet.networks.residual",
    "Scheme": "contnet.ode.schemes",
    "TrainedNetwork": "contnet.serving.trained",
    "WideContinuousNet": "contnet.networks.continuous",
    "WideResNet": "contnet.networks.residual",
    "cheapest": "contnet.invariance.dial",
    "load": "contnet.serving.loading",
    "project": "contnet.ode.projection",
}


def __dir__() -> list[str]:
    return sorted(["__version__", *__all__])


def __getattr__(name: str) -> Any:
    # Names are imported on first use: a typing error in a command is reported before torch is
    # imported.
    if name not in _HOMES:
        raise AttributeError(f"module 'contnet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
