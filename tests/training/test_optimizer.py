import copy
import re
from functools import partial

import pytest
import torch

from contnet import ContinuousNet
from contnet.training.optimizer import carry_state, parameter_groups


def test_norms_biases_and_factors_can_be_spared_weight_decay() -> None:
    network = ContinuousNet(alpha=4, use_skipinit=True)
    (everything,) = parameter_groups(network, decay_norm_and_bias=True)
    assert everything["params"] == list(network.parameters())
    decayed, others = parameter_groups(network, decay_norm_and_bias=False)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert all(
        names[id(p)].endswith("weight") and "bn" not in names[id(p)] for p in decayed["params"]
    )
    assert len(decayed["params"]) + len(others["params"]) == len(names)
    optimizer = torch.optim.SGD([decayed, others], lr=0.1, weight_decay=0.5)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter in decayed["params"]:
        assert torch.allclose(parameter, before[names[id(parameter)]] * 0.95)
    for parameter in others["params"]:
        assert torch.equal(parameter, before[names[id(parameter)]])


@pytest.mark.parametrize("kind", ["sgd", "adamw", "amsgrad", "adamax", "nadam", "rmsprop"])
def test_velocities_are_divided_like_the_parameters_that_grow_and_sizes_of_gradients_are_not(
    kind: str,
) -> None:
    make = {
        "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
        "adamw": torch.optim.AdamW,
        "amsgrad": partial(torch.optim.AdamW, amsgrad=True),
        "adamax": torch.optim.Adamax,
        "nadam": torch.optim.NAdam,
        "rmsprop": partial(torch.optim.RMSprop, momentum=0.9),
    }[kind]
    network = ContinuousNet(alpha=2, use_skipinit=True)
    optimizer = make(network.parameters(), lr=0.01)
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    before = {name: copy.deepcopy(optimizer.state[one]) for name, one in network.named_parameters()}
    values = {name: one.detach().clone() for name, one in network.named_parameters()}
    carry_state(optimizer, network, network.refine(4, grow=True), carry=True)
    assert len(optimizer.state) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        old = re.sub(r"nodes\.\d", "nodes.0", name)
        # The last affine map, and those before a batch norm.
        divisors = {".skipinit.": 4, ".conv1.": 2, ".conv2.": 2}
        divisor = next((n for part, n in divisors.items() if ".nodes." in name and part in name), 1)
        torch.testing.assert_close(parameter.data, values[old] / divisor)
        for key, value in before[old].items():
            moves = key in ("momentum_buffer", "exp_avg")
            expected = value / divisor if moves else value
            torch.testing.assert_close(optimizer.state[parameter][key], expected)
