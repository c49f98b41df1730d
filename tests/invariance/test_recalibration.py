import pytest
import torch
from torch import Tensor, nn

import contnet
from contnet import ContinuousNet
from contnet.invariance.recalibration import recalibrated
from tests.outcomes import assert_same


def test_recalibrated_statistics_are_the_mean_over_batches_and_are_undone_at_the_end() -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2, scheme="midpoint").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = [torch.randn(16, 3, 8, 8) for _ in range(3)]
    with recalibrated(network, images):
        stem = network.stem[1]
        convolved = [network.stem[0](batch) for batch in images]
        mean = torch.stack([batch.mean((0, 2, 3)) for batch in convolved]).mean(0)
        variance = torch.stack(
            [batch.transpose(0, 1).flatten(1).var(1) for batch in convolved]
        ).mean(0)
        assert torch.allclose(stem.running_mean, mean, atol=1e-6)
        assert torch.allclose(stem.running_var, variance, rtol=1e-5)
        # Two stages of one step on each interval, three batches.
        assert network.blocks[0].nodes[0].bn1.num_batches_tracked == 2 * 3
        assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(m.momentum == 0.1 for m in network.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("basis", ["piecewise_linear", "legendre"])
def test_a_projected_network_recalibrates_to_the_statistics_of_its_own_states(basis: str) -> None:
    network = ContinuousNet(alpha=4, initial_time_d=4)
    images: Tensor = torch.randn(64, 3, 8, 8)
    with torch.no_grad():
        for _ in range(30):
            network(images)
        projected = contnet.project(network, 4, basis)
        of_the_batch = contnet.project(network, 4, basis)(images)
        projected.eval()
        before = dict(projected.state_dict())
        lost = torch.linalg.vector_norm(projected(images) - of_the_batch)
        with recalibrated(projected, [images] * 30):
            left = torch.linalg.vector_norm(projected(images) - of_the_batch)
    assert left < 0.5 * lost
    assert_same(dict(projected.state_dict()), before, basis)
