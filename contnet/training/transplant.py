"""A run's checkpoint with another network in it."""

from itertools import count
from typing import Any

from torch import nn

from contnet.runs.checkpoint import depth
from contnet.training.optimizer import parameter_groups


def with_network(checkpoint: dict[str, Any], network: nn.Module) -> dict[str, Any]:
    """A checkpoint of a run, with another network in place of its own: the run goes on with that from the epoch that it
    has reached, with an optimizer that has no momenta yet."""
    config = checkpoint["contnet"]["config"]
    weights = {f"network.{name}": value.cpu() for name, value in network.state_dict().items()}
    others = {
        name: value
        for name, value in checkpoint["state_dict"].items()
        if not name.startswith("network.")
    }
    groups = parameter_groups(
        network, decay_norm_and_bias=config["optimizer"].get("decay_norm_and_bias", True)
    )
    changed = {
        **checkpoint,
        "contnet": {**checkpoint["contnet"], "depth": depth(network)},
        "state_dict": {**others, **weights},
        "optimizer_states": [
            _without_momenta(state, groups) for state in checkpoint["optimizer_states"]
        ],
        "callbacks": {},  # they tell of the best weights of a run, which these are not, and of its time
    }
    if (
        "current_model_state" in checkpoint
    ):  # beside an average of the weights, which is what is projected
        changed["current_model_state"] = changed["state_dict"]
    return changed


def _without_momenta(
    optimizer_state: dict[str, Any], groups: list[dict[str, Any]]
) -> dict[str, Any]:
    """The state of an optimizer with the same settings, for other parameters."""
    number = count()
    return {
        "state": {},
        "param_groups": [
            {**settings, "params": [next(number) for _ in group["params"]]}
            for settings, group in zip(optimizer_state["param_groups"], groups, strict=True)
        ],
    }
