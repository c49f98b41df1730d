import torch

from contnet import ContinuousNet
from contnet.training.optimizer import parameter_groups


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
