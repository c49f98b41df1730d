"""Checkpoints in which another network replaces that of the run."""

from dataclasses import replace
from itertools import count
from typing import Any

from torch import nn

from contnet.ode.depth_time import depth_time
from contnet.runs.checkpoint import Record, with_weights
from contnet.training.optimizer import parameter_groups


def with_network(checkpoint: dict[str, Any], network: nn.Module) -> dict[str, Any]:
    """Return the checkpoint of a run with another network in place of its own.

    The run continues with that network from the epoch that it has reached. Its optimizer
    starts without momenta.
    """
    record = Record.of(checkpoint)
    optimizer = record.config["optimizer"]
    groups = parameter_groups(
        network, decay_norm_and_bias=optimizer.get("decay_norm_and_bias", True)
    )
    depth = depth_time(network)
    changed = {
        **checkpoint,
        "state_dict": with_weights(checkpoint, network),
        "optimizer_states": [
            _without_momenta(state, groups) for state in checkpoint["optimizer_states"]
        ],
        # Their states describe the network that was replaced: its best weights and its time.
        "callbacks": {},
    }
    replace(record, depth=depth.depths if depth else ()).put(changed)
    if "current_model_state" in checkpoint:
        # The run averages its weights; the average is the network that was replaced.
        changed["current_model_state"] = changed["state_dict"]
    return changed


def _without_momenta(
    optimizer_state: dict[str, Any], groups: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the state of an optimizer with equal settings, for the parameters in `groups`."""
    number = count()
    return {
        "state": {},
        "param_groups": [
            {**settings, "params": [next(number) for _ in group["params"]]}
            for settings, group in zip(optimizer_state["param_groups"], groups, strict=True)
        ],
    }
