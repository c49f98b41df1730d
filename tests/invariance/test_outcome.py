import torch

from contnet import ContinuousNet
from contnet.invariance.outcome import observe
from tests.invariance.results import batches


def test_an_outcome_has_the_logits_of_all_images_and_counts_its_work() -> None:
    network = ContinuousNet(alpha=4, scheme="rk4_classic").eval()
    images, labels = torch.randn(10, 3, 8, 8), torch.arange(10)
    outcome = observe(network, batches(images, labels, 4))
    with torch.no_grad():
        assert torch.allclose(torch.cat(outcome.logits), network(images), atol=1e-6)
    assert torch.equal(outcome.labels, labels)
    assert (outcome.n_f_evals, outcome.batch_size, outcome.peak_memory) == (12, 4, None)
    # Multiply-adds of the convolutions, an evaluation of the rate being two of them; then the
    # linear layer.
    rates = sum(4 * 2 * size**2 * 9 * channels**2 for size, channels in ((8, 4), (4, 8), (2, 16)))
    stem = 8**2 * 9 * 3 * 4
    stitches = sum(
        size**2 * (incoming * channels + 9 * incoming * channels + 9 * channels**2)
        for size, incoming, channels in ((8, 4, 4), (4, 4, 8), (2, 8, 16))
    )
    assert outcome.flops == 2 * (rates + stem + stitches + 16 * 10)
    assert outcome.latency > 0
