"""Parameter groups of the optimizer."""

from typing import Any

from torch import nn


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
