"""What a trained network is made from: all of it but the numbers in its tensors.

A blueprint may come from somebody else's file. Its network is built as `contnet.runs.trust` allows,
and without Hydra.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contnet.data.preprocessing import Preprocessing
from contnet.errors import ConfigError, described
from contnet.ode import statistics
from contnet.ode.depth_time import Depth, depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import AdaptiveScheme, Scheme
from contnet.runs.names import imported
from contnet.runs.trust import NETWORKS, check_node

LONGEST = 300
"""Characters of a message that lists names from a file."""


PRECISIONS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
"""The types that weights may have."""

COUNTERS = {torch.int64, torch.bool}
"""The types of counters of batches, and of marks."""


@dataclass(frozen=True)
class Blueprint:
    """What a trained network is made from.

    Args:
        model: the name of its class as `_target_`, and the arguments of the class.
        classes: names of the classes, in the order of the labels.
        preprocessing: the shape of the images, and their normalisation.
        channels_last: the memory format of weights and images.
        depth: the depth of each ODE block.
        manifestations: those that the norms keep statistics of, if there are several.
        schemes: the scheme of each ODE block, where it is not the one of `model`.
    """

    model: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    channels_last: bool
    depth: tuple[Depth, ...]
    manifestations: tuple[Manifestation, ...]
    schemes: tuple[Scheme | AdaptiveScheme, ...] | None = None

    def build(self, path: str, weights: Mapping[str, Tensor], trusted: Sequence[str]) -> nn.Module:
        """Return the network with its weights, on the CPU, in evaluation mode.

        Args:
            path: the file of the weights, for messages.
            weights: the tensors by their names in the network.
            trusted: the modules that the user trusts.

        Raises:
            ConfigError: if no file may have such a network built, or the weights do not fit it.
        """
        check_node(path, "model", self.model, trusted)
        if self.model["_target_"] in NETWORKS and not self.model.get("rate"):
            # Tensors on this device have a shape and no memory, whatever size the file asks for.
            with torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that nothing is copied to them
                self._with_weights(path, weights)
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        return self._with_weights(path, weights).eval().to(memory_format=memory_format)

    def _with_weights(self, path: str, weights: Mapping[str, Tensor]) -> nn.Module:
        network = self._network(path)
        dtypes = {one.dtype for one in weights.values() if one.dtype not in COUNTERS}
        if not dtypes <= PRECISIONS:
            known = ", ".join(sorted(map(_name, PRECISIONS)))
            found = ", ".join(sorted(map(_name, dtypes - PRECISIONS)))
            raise ConfigError(f"path: the weights in {path!r} must be {known}; they are {found}")
        if len(dtypes) == 1:
            network = network.to(dtypes.pop())
        depth = depth_time(network)
        try:
            if depth is not None:
                depth.resize(self.depth)
                if self.schemes is not None:
                    for block, scheme in zip(depth.blocks, self.schemes, strict=True):
                        block.set_manifestation(scheme)
            statistics.provide(network, self.manifestations)
            network.load_state_dict(weights)
        except (RuntimeError, ValueError) as error:
            lines = str(error).splitlines()
            what = lines[1] if len(lines) > 1 else lines[0]
            raise ConfigError(
                f"path: the weights in {path!r} are not those of the network that it describes; "
                f"{what.strip()[:LONGEST]}"
            ) from error
        return network

    def _network(self, path: str) -> nn.Module:
        node = dict(self.model)
        if isinstance(node.get("rate"), dict):
            node["rate"] = _maker(path, "model.rate", node["rate"])
        make = _maker(path, "model", node)
        network = make(in_channels=self.preprocessing.shape[0], num_classes=len(self.classes))
        if not isinstance(network, nn.Module):
            target = self.model["_target_"]
            raise ConfigError(f"path: {target} in {path!r} makes no torch.nn.Module")
        return network


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _maker(path: str, key: str, node: dict[str, Any]) -> Callable[..., Any]:
    """Return a function that makes the object of a node, given the arguments still missing."""
    target = imported(f"{key}._target_", node["_target_"])
    options = {name: value for name, value in node.items() if name != "_target_"}

    def make(**arguments: Any) -> Any:
        try:
            given = {name: _made(path, f"{key}.{name}", one) for name, one in options.items()}
            return target(**given, **arguments)
        except ConfigError:
            raise
        except Exception as error:  # of any kind: the class may be the user's own
            raise ConfigError(
                f"path: {path!r} has a {key} that cannot be made; {described(error)}"
            ) from error

    return make


def _made(path: str, key: str, value: Any) -> Any:
    """Return an argument, in which each node is replaced by the object that it describes."""
    if isinstance(value, dict):
        if "_target_" in value:
            return _maker(path, key, value)()
        return {name: _made(path, f"{key}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_made(path, key, inner) for inner in value]
    return value
