"""Three ways to a gradient: the same one, or one that converges to it, for less memory."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from contnet import ContinuousNet, ODEBlock
from tests.ode.theta import SMOOTH
from tests.problems import Linear, slope


def saved_bytes(network: nn.Module, x: Tensor) -> int:
    """Return the bytes that the forward pass keeps for the backward one, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}
    held = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # otherwise another tensor could be stored at its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return sum(kept.values())


def gradients(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    network(x).square().mean().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("scheme", ["euler", "rk4_classic"])
@pytest.mark.parametrize("activation_before_conv", [False, True])
def test_checkpointing_changes_no_gradient_and_no_statistic(
    scheme: str, activation_before_conv: bool
) -> None:
    options = {
        "alpha": 4,
        "initial_time_d": 2,
        "scheme": scheme,
        "activation_before_conv": activation_before_conv,
    }
    plain = ContinuousNet(**options)
    frugal = ContinuousNet(**options, gradient="checkpoint")
    frugal.load_state_dict(plain.state_dict())
    x = torch.randn(8, 3, 16, 16)
    expected, found = gradients(plain, x), gradients(frugal, x)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-6, msg=name)
    for name, buffer in plain.named_buffers():
        assert torch.equal(dict(frugal.named_buffers())[name], buffer), name
    assert all(m.track_running_stats for m in frugal.modules() if isinstance(m, nn.BatchNorm2d))


def test_checkpointing_repeats_the_dropout_that_it_drew() -> None:
    def rate() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Tanh())

    plain, frugal = (
        ODEBlock(rate, n_basis=2, scheme="rk4", gradient=g) for g in ("backprop", "checkpoint")
    )
    x = torch.randn(5, 6)
    torch.manual_seed(2)
    expected = gradients(plain, x)
    torch.manual_seed(2)
    for name, gradient in gradients(frugal, x).items():
        assert torch.equal(gradient, expected[name])


def test_checkpointing_of_a_deep_network_keeps_a_third_of_the_activations_at_most() -> None:
    x = torch.randn(2, 3, 32, 32)
    kept = [
        saved_bytes(
            ContinuousNet(alpha=4, initial_time_d=16, scheme="rk4_classic", gradient=gradient), x
        )
        for gradient in ("backprop", "checkpoint")
    ]
    assert kept[1] <= 0.35 * kept[0]


@pytest.mark.parametrize("scheme", ["euler", "midpoint", "rk4"])
def test_the_adjoints_gradient_converges_to_that_of_the_steps(scheme: str) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    block = ODEBlock(Linear, n_basis=2, scheme=scheme)

    def error(n: int) -> float:
        exact = copy.deepcopy(block)
        exact.set_manifestation("rk4_classic", 512)
        expected = gradients(exact, x)
        adjoint = ODEBlock(Linear, n_basis=2, n_time_steps=n, scheme=scheme, gradient="adjoint")
        adjoint.load_state_dict(block.state_dict())
        found = gradients(adjoint, x)
        return max((found[name] - expected[name]).abs().max().item() for name in expected)

    order = {"euler": 1, "midpoint": 2, "rk4": 4}[scheme]
    assert slope(error, [8, 16, 32, 64]) == pytest.approx(order, abs=0.2)


def test_the_adjoint_of_an_adaptive_scheme_keeps_its_tolerance() -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    plain = ODEBlock(Linear, n_basis=3, scheme="rk4_classic", n_time_steps=300)
    adjoint = ODEBlock(Linear, n_basis=3, scheme="dopri5", rtol=1e-9, atol=1e-9, gradient="adjoint")
    adjoint.load_state_dict(plain.state_dict())
    expected, found = gradients(plain, x), gradients(adjoint, x)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-6)
    assert adjoint.n_f_evals > 0


@pytest.mark.parametrize("scheme", ["rk4", "dopri5"])
def test_the_adjoint_keeps_no_activation_of_a_rate_and_counts_no_batch_twice(scheme: str) -> None:
    x = torch.randn(4, 3, 16, 16)

    def grows_by(**options: str) -> int:
        deep, flat = (ContinuousNet(alpha=4, initial_time_d=k, **options) for k in (4, 1))
        return saved_bytes(deep, x) - saved_bytes(flat, x)

    assert grows_by(scheme=scheme, gradient="adjoint") < 0.35 * grows_by(scheme="rk4")
    network = ContinuousNet(alpha=4, initial_time_d=4, scheme=scheme, gradient="adjoint")
    network(x)
    counted = [block.nodes[0].bn1.num_batches_tracked.item() for block in network.blocks]
    evaluations = [block.n_f_evals for block in network.blocks]
    gradients(network, x)
    again = [block.nodes[0].bn1.num_batches_tracked.item() for block in network.blocks]
    for block, before, after, n in zip(network.blocks, counted, again, evaluations, strict=True):
        assert (
            sum(node.bn1.num_batches_tracked.item() for node in block.nodes) <= n + block.n_f_evals
        )
        assert after - before <= block.n_f_evals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ODEBlock(Linear, gradient="guess"),
            "gradient must be one of backprop, checkpoint, adjoint; got 'guess'",
        ),
        (
            lambda: ODEBlock(Linear, scheme="ralston2", gradient="adjoint"),
            "gradient must be backprop or checkpoint for ral",
        ),
        (
            lambda: ODEBlock(Linear, n_basis=2, n_time_steps=3, gradient="adjoint"),
            "n_time_steps must be a multiple of n_basis for gradient=adjoint, got 3",
        ),
    ],
)
def test_a_gradient_that_there_is_not_is_refused(
    make: Callable[[], ODEBlock], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_adjoint_goes_back_in_the_precision_of_the_way_forward() -> None:
    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.types: list[torch.dtype] = []

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.linear(x)
            self.types.append(result.dtype)
            return result

    block = ODEBlock(Seen, gradient="adjoint")
    with torch.autocast("cpu", torch.bfloat16):
        loss = block(torch.randn(2, 4)).sum()
    loss.backward()
    assert len(block.nodes[0].types) > 1
    assert set(block.nodes[0].types) == {torch.bfloat16}


def test_a_block_trained_with_the_adjoint_is_evaluated_in_any_manifestation() -> None:
    block = ODEBlock(Linear, n_basis=2, gradient="adjoint")
    block.gradient = "backprop"
    block.set_manifestation("rk4_classic", 5)
    with torch.no_grad():
        assert block(torch.randn(3, 4, dtype=torch.float64)).shape == (3, 4)


@pytest.mark.parametrize("name", SMOOTH)
def test_checkpointing_gives_the_same_gradients_and_statistics(name: str) -> None:
    plain, frugal = (
        ContinuousNet(alpha=4, initial_time_d=2, basis=name, scheme="rk4", gradient=gradient)
        for gradient in ("backprop", "checkpoint")
    )
    frugal.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 8, 8)
    for network in (plain, frugal):
        network(x).square().sum().backward()
    for (parameter_name, a), b in zip(plain.named_parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5, msg=parameter_name)
    for (buffer_name, a), b in zip(plain.named_buffers(), frugal.buffers(), strict=True):
        assert torch.equal(a, b), buffer_name
