"""Parameter groups of the optimizer, and its state when the network is refined."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from contnet.ode.combination import weighted_sum
from contnet.ode.refinement import Origin

SCALES = {"exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg", "acc_delta", "sum", "variance"}
"""States of PyTorch's optimizers that hold sizes, of gradients or of steps."""

COUNTS = {"step", "mu_product", "eta", "mu"}
"""States that are equal for all parameters: functions of the number of steps."""


def parameter_groups(network: nn.Module, *, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Return the parameter groups of an optimizer: one of all parameters, or two.

    Without `decay_norm_and_bias`, parameters of fewer than two dimensions (biases, norms, the
    factors of SkipInit) form a group without weight decay.
    """
    if decay_norm_and_bias:
        return [{"params": list(network.parameters())}]
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]


def carry_state(
    optimizer: Optimizer, network: nn.Module, origins: list[Origin], *, carry: bool
) -> None:
    """Replace the refined parameters of an optimizer by the new ones.

    A new parameter joins the group of the parameters that it is a weighted sum of. With `carry`,
    its momentum is the same sum of their momenta: it moves on with the velocity that this sum had.
    So if a parameter is divided because epsilon grows, its momentum is as well. The sizes of
    gradients, by which Adam and others divide the step, become a weighted mean. Without `carry`,
    all states are dropped.

    Within a group, parameters are in the order of the network, as in an optimizer that is made at
    this depth: a checkpoint identifies parameters by their position.
    """
    parents = {new: parts[0][0] for new, parts in origins}
    for group in optimizer.param_groups:
        members = set(group["params"])
        group["params"] = [p for p in network.parameters() if parents.get(p, p) in members]
    if not carry:
        optimizer.state.clear()
        return
    carried: dict[Tensor, dict[str, Any]] = {}
    for new, parts in origins:
        # A part of weight 0 adds nothing, and a node that no stage has looked up has no state.
        parts = [(old, weight) for old, weight in parts if weight and old in optimizer.state]
        stays = any(new is old and weight == 1 for old, weight in parts)
        if parts and not stays:
            states = [optimizer.state[old] for old, _ in parts]
            carried[new] = _summed(states, [weight for _, weight in parts], new.shape)
    optimizer.state.update(carried)


def _summed(
    states: list[dict[str, Any]], weights: list[float], shape: torch.Size
) -> dict[str, Any]:
    """Return the state of a weighted sum of parameters of one shape.

    A single state of weight 1 is copied.
    """
    summed = copy.deepcopy(states[0])
    if weights == [1]:
        return summed
    total = sum(abs(weight) for weight in weights)
    for name, value in summed.items():
        if isinstance(value, Tensor) and value.shape == shape and name not in COUNTS:
            own = [abs(weight) / total for weight in weights] if name in SCALES else weights
            summed[name] = weighted_sum([state[name] for state in states], own)
    return summed
