"""Integration by embedded pairs: what a step reads, keeps and leaves behind."""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from contnet import ADAPTIVE_SCHEMES, ContinuousNet, ODEBlock
from contnet.invariance.manifestation import manifestations
from contnet.ode.schemes import AdaptiveScheme
from contnet.ode.step_control import LARGEST_FACTOR, SMALLEST_FACTOR, StepControl
from tests.ode.test_adaptive import FACTORS, NODES, Growth, growth
from tests.problems import Linear, Smooth

EACH = pytest.mark.parametrize("scheme", ADAPTIVE_SCHEMES)
TIGHT = {"rtol": 1e-8, "atol": 1e-8}


class Logistic(nn.Module):
    """R(x) = a x (1 - x)."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.full((), 1.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x * (1 - x)


class Kick(nn.Module):
    """A rate that changes suddenly with the state, so that steps are rejected."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.full((), 2.0, dtype=torch.float64))
        self.norm = nn.BatchNorm1d(4, affine=False).double()

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        return self.a * (1 + 20 * torch.sigmoid(200 * (x - 1.5)))


def kicked(scheme: str = "dopri5", **options: object) -> ODEBlock:
    return ODEBlock(Kick, scheme=scheme, rtol=1e-4, atol=1e-4, **options)


@EACH
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_gradients_through_a_nonlinear_rate_are_those_of_the_closed_form(
    scheme: str, gradient: str
) -> None:
    order = ADAPTIVE_SCHEMES[scheme].order
    close = {"rtol": 1e-7, "atol": 1e-7} if order > 3 else {"rtol": 1e-4, "atol": 1e-4}
    block = ODEBlock(Logistic, 2, scheme=scheme, gradient=gradient, **close)
    x = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    block(x).sum().backward()
    a, start = torch.tensor(1.5, dtype=torch.float64, requires_grad=True), x.detach().clone()
    start.requires_grad_()
    exact = start * a.exp() / (1 + start * (a.exp() - 1))
    exact.sum().backward()
    found = sum(node.a.grad for node in block.nodes)
    near = {"rtol": 1e-5 if order > 3 else 2e-2, "atol": 1e-6}
    torch.testing.assert_close(block(x), exact, **near)
    torch.testing.assert_close(x.grad, start.grad, **near)
    torch.testing.assert_close(found, a.grad, **near)


@EACH
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("basis", NODES)
def test_the_gradient_is_that_of_the_steps_that_were_taken(
    scheme: str, gradient: str, basis: str
) -> None:
    """Finite differences agree: these tolerances accept every step, whatever the weights."""
    loose = {"rtol": 1e6, "atol": 1e6}
    block = ODEBlock(Smooth, NODES[basis], scheme=scheme, gradient=gradient, basis=basis, **loose)
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    weights = list(block.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: block(x), (x, *weights), fast_mode=True)
    assert block.effort.n_rejected == 0


def test_the_example_of_the_faults_has_its_gradient() -> None:
    """e / 2 for each of two nodes, where gradients through step sizes gave 1.2889 and 1.3396."""
    block = ODEBlock(Growth, 2, scheme="dopri5", basis="continuous_linear", rtol=1e-6, atol=1e-6)
    block(torch.ones(1, dtype=torch.float64)).backward()
    found = [node.a.grad.item() for node in block.nodes]
    assert found == pytest.approx([1.359141] * 2, abs=2e-6)


@EACH
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_rejected_steps_leave_no_statistics(scheme: str, gradient: str) -> None:
    """The norm has seen each stage of an accepted step once, and nothing else."""
    block = kicked(scheme, gradient=gradient)
    x = torch.linspace(0.9, 1.1, 12, dtype=torch.float64).view(3, 4).requires_grad_()
    block(x).sum().backward()
    effort, pair = block.effort, ADAPTIVE_SCHEMES[scheme].method
    assert effort.n_rejected > 0
    first = 1 if pair.first_same_as_last else effort.n_accepted
    seen = first + effort.n_accepted * (pair.n_stages - 1)
    assert block.nodes[0].norm.num_batches_tracked.item() == seen
    undone = 1 + effort.n_rejected * (pair.n_stages - 1)  # the first is that of the first length
    assert effort.n_f_evals == seen + undone


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_statistics_are_those_of_the_accepted_steps_alone(gradient: str) -> None:
    seen: list[tuple[int, Tensor]] = []
    block = kicked("bosh3", gradient=gradient)
    block.nodes[0].register_forward_pre_hook(
        lambda node, x: seen.append((node.norm.num_batches_tracked.item(), x[0].detach().mean(0)))
    )
    block(torch.linspace(0.9, 1.1, 12, dtype=torch.float64).view(3, 4))
    assert block.effort.n_rejected > 0
    # An evaluation was undone if a later one began with the same count, or with a smaller one.
    counts = [count for count, _ in seen]
    kept = [
        mean
        for i, (count, mean) in enumerate(seen)
        if count < min(counts[i + 1 :], default=math.inf)
    ]
    expected = torch.zeros(4, dtype=torch.float64)
    for mean in kept:
        expected = 0.9 * expected + 0.1 * mean
    found = block.nodes[0].norm.running_mean
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_rate_in_evaluation_mode_copies_no_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    block = kicked().eval()
    copies = []
    clone = Tensor.clone
    monkeypatch.setattr(Tensor, "clone", lambda x, *a, **o: copies.append(x) or clone(x, *a, **o))
    with torch.no_grad():
        block(torch.linspace(0.9, 1.1, 12, dtype=torch.float64).view(3, 4))
    assert copies == []


class Masked(nn.Module):
    """A rate with dropout, of numbers that are drawn in each evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh()).double()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


@EACH
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_dropout_is_one_mask_for_each_accepted_step(scheme: str, gradient: str) -> None:
    masks: list[Tensor] = []
    block = ODEBlock(Masked, scheme=scheme, gradient=gradient, epsilon=8.0, rtol=1e-3, atol=1e-3)
    block.nodes[0].layers[1].register_forward_hook(
        lambda layer, x, y: masks.append((y == 0).detach().flatten())
    )
    torch.manual_seed(3)
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    result = block(x)
    after = torch.rand(3)
    n_masks = len({tuple(mask.tolist()) for mask in masks})
    assert 1 < n_masks <= block.effort.n_accepted
    # As many numbers were drawn as the accepted steps need, one mask each.
    torch.manual_seed(3)
    torch.randn(2, 4, dtype=torch.float64)
    for _ in range(block.effort.n_accepted):
        nn.functional.dropout(torch.ones(2, 4, dtype=torch.float64), 0.5)
    assert torch.equal(torch.rand(3), after)
    n = len(masks)
    result.sum().backward()
    recomputed = masks[n:]
    assert bool(recomputed) == (gradient == "checkpoint")
    taken = {tuple(mask.tolist()) for mask in masks[:n]}
    assert all(tuple(mask.tolist()) in taken for mask in recomputed)


def test_dropout_has_the_gradient_of_backprop_where_steps_are_recomputed() -> None:
    found = []
    for gradient in ("backprop", "checkpoint"):
        torch.manual_seed(5)
        block = ODEBlock(Masked, 2, gradient=gradient, scheme="tsit5", epsilon=4.0)
        x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
        block(x).square().sum().backward()
        found.append([x.grad, *(p.grad for p in block.parameters())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


class Reads(TorchDispatchMode):
    """Counts numbers that are read from the device, and tensors of float64."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0
        self.n_doubles = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._local_scalar_dense.default:
            self.n += 1
        if isinstance(result, Tensor) and result.dtype == torch.float64:
            self.n_doubles += 1
        return result


@EACH
def test_a_step_reads_one_number_and_makes_no_double(scheme: str) -> None:
    block = ODEBlock(lambda: nn.Linear(4, 4), scheme=scheme, rtol=1e-3, atol=1e-3).eval()
    x = torch.randn(8, 4)
    reads = Reads()
    with torch.no_grad(), reads:
        block(x)
    effort = block.effort
    n_steps = effort.n_accepted + effort.n_rejected
    assert reads.n - n_steps <= 3  # for the first length
    assert reads.n_doubles == 0


class Held(Kick):
    """A rate that remembers the tensors that its gradient needs."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[StorageWeakRef] = []

    def forward(self, x: Tensor) -> Tensor:
        rest = torch.sigmoid(200 * (x - 1.5))
        self.held.append(StorageWeakRef(rest.untyped_storage()))
        return self.a * (1 + 20 * rest)


@EACH
def test_rejected_steps_keep_no_graph(scheme: str) -> None:
    x = torch.linspace(0.9, 1.1, 12, dtype=torch.float64).view(3, 4).requires_grad_()
    block = ODEBlock(Held, scheme=scheme, rtol=1e-4, atol=1e-4)
    result = block(x)
    gc.collect()
    effort, pair = block.effort, ADAPTIVE_SCHEMES[scheme].method
    assert effort.n_rejected > 0
    alive = sum(not one.expired() for one in block.nodes[0].held)
    first = 1 if pair.first_same_as_last else effort.n_accepted
    last = 1 if pair.first_same_as_last else 0  # the last stage of all is not part of the result
    assert alive == first + effort.n_accepted * (pair.n_stages - 1) - last
    assert result.requires_grad


@contextmanager
def peak() -> Iterator[list[int]]:
    """Count the bytes that autograd keeps within the context."""
    kept = [0]

    def pack(x: Tensor) -> Tensor:
        kept[0] += x.numel() * x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        yield kept


def test_checkpoint_keeps_the_states_between_steps_alone() -> None:
    gc.collect()
    kept = {}
    for gradient in ("backprop", "checkpoint"):
        torch.manual_seed(0)
        block = ODEBlock(Smooth, scheme="dopri5", gradient=gradient, epsilon=8.0, **TIGHT)
        x = torch.randn(64, 4, dtype=torch.float64, requires_grad=True)
        with peak() as bytes_:
            block(x)
        kept[gradient] = bytes_[0]
    assert kept["checkpoint"] < kept["backprop"] / 3


def test_a_state_of_32_bits_with_rates_in_bfloat16_keeps_its_tolerance() -> None:
    block = ODEBlock(lambda: nn.Linear(4, 4), scheme="tsit5", rtol=1e-2, atol=1e-2)
    x = torch.randn(16, 4)
    exact = block(x)
    with torch.autocast("cpu", torch.bfloat16):
        result = block(x)
    assert result.dtype == torch.float32
    assert block.effort.n_f_evals < 60
    torch.testing.assert_close(result, exact, rtol=0.02, atol=0.02)


@EACH
def test_no_image_is_computed_worse_for_its_neighbours(scheme: str) -> None:
    """One image in 64 moves; the others lower the mean over the batch, and not its own error."""
    x = torch.zeros(64, 4, dtype=torch.float64)
    x[7] = torch.tensor([0.9, 0.1, 1.2, 0.4])
    bound = 1e-8 if scheme == "dopri8" else 1e-4  # tight enough for several steps
    tolerance = {"rtol": bound, "atol": bound, "epsilon": 6.0}
    errors = {}
    for control in ("batch", "image"):
        torch.manual_seed(2)
        block = ODEBlock(Linear, scheme=scheme, control=control, **tolerance)
        alone = block(x[7:8])
        evaluations = block.n_f_evals
        together = block(x)
        if control == "image":  # the same steps as alone
            assert block.n_f_evals == evaluations
            torch.testing.assert_close(together[7:8], alone, rtol=1e-12, atol=1e-12)
        exact = block.nodes[0].flow(x, 6.0)
        errors[control] = (together - exact).norm().item()
    assert errors["image"] < errors["batch"]


@EACH
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("basis", NODES)
def test_states_at_any_times_are_those_of_the_closed_form(
    scheme: str, gradient: str, basis: str
) -> None:
    low = ADAPTIVE_SCHEMES[scheme].order < 4
    tolerance = 1e-4 if low else 1e-8
    block = growth(scheme, basis, tolerance, gradient=gradient)
    x = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    times = [0.0, 0.1, 1 / 3, 0.5, 0.5, 0.93, 1.0]
    found = block.trajectory(x, times)
    assert found.shape == (7, 2)
    close = {"rtol": 4e-2 if low else 1e-5, "atol": 1e-6}
    for time, state in zip(times, found, strict=True):
        exact = x.detach() * math.exp(integral(block, time))
        torch.testing.assert_close(state.detach(), exact, **close)
    torch.testing.assert_close(found[-1], block(x), rtol=1e-2, atol=1e-6)
    found.sum().backward()
    assert x.grad is not None
    expected = sum(math.exp(integral(block, time)) for time in times)
    assert x.grad[0].item() == pytest.approx(expected, rel=close["rtol"])


def integral(block: ODEBlock, time: float) -> float:
    """Return the integral of theta from 0 to a time."""
    n, total = block.basis.n_elements, 0.0
    for element in range(n):
        s = min(max(time * n - element, 0.0), 1.0)
        for k, polynomial in block.basis.functions(element).items():
            parts = (float(c) * s ** (i + 1) / (i + 1) for i, c in enumerate(polynomial))
            total += FACTORS[k] * sum(parts) / n
    return total


def test_dense_output_takes_no_more_evaluations() -> None:
    for scheme in ("dopri5", "tsit5"):
        block = growth(scheme, "piecewise_linear", 1e-4)
        x = torch.ones(2, dtype=torch.float64)
        block(x)
        evaluations = block.n_f_evals
        block.trajectory(x, [i / 50 for i in range(51)])
        assert block.n_f_evals == evaluations


@pytest.mark.parametrize("times", [[], [-0.1, 1], [0.5, 0.2], [0.5, 1.1], [math.nan]])
def test_times_that_are_none_are_refused(times: list[float]) -> None:
    block = ODEBlock(Linear, scheme="dopri5")
    with pytest.raises(ValueError, match="times must be from 0 to 1 in ascending order, got"):
        block.trajectory(torch.ones(1, 4, dtype=torch.float64), times)


@pytest.mark.parametrize(
    "options",
    [
        {"scheme": "rk4"},
        {"scheme": "torchdiffeq/dopri5"},
        {"scheme": "dopri5", "gradient": "adjoint"},
    ],
    ids=str,
)
def test_times_are_taken_by_embedded_pairs_alone(options: dict[str, str]) -> None:
    block = ODEBlock(Linear, **options)
    with pytest.raises(ValueError, match="times must be left out, except with an embedded pair"):
        block.trajectory(torch.ones(1, 4, dtype=torch.float64), [0.5])


def test_the_effort_of_a_pass_is_counted() -> None:
    calls: list[int] = []
    network = ContinuousNet(alpha=2, initial_time_d=2, scheme="tsit5", rtol=1e-2, atol=1e-2)
    for block in network.blocks:
        for node in block.nodes:
            node.register_forward_hook(lambda *_: calls.append(1))
    network(torch.randn(2, 3, 8, 8))
    assert network.n_f_evals == len(calls)
    efforts = [block.effort for block in network.blocks]
    assert all(effort.n_accepted >= 2 for effort in efforts)
    assert sum(effort.n_f_evals for effort in efforts) == network.n_f_evals


def test_an_own_pair_is_a_scheme() -> None:
    pair = ADAPTIVE_SCHEMES["bosh3"].method
    block = ODEBlock(Linear, scheme=AdaptiveScheme(pair, 1e-6, 1e-6))
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(block(x), block.nodes[0].flow(x, 1.0), rtol=1e-5, atol=1e-5)


def test_the_first_length_is_chosen_once_for_all_elements_of_theta() -> None:
    block = growth("dopri5", "piecewise_constant", 1e-3)
    block(torch.ones(2, dtype=torch.float64))
    n_steps = block.effort.n_accepted + block.effort.n_rejected
    assert block.n_f_evals == 1 + 3 + 6 * n_steps  # a first stage in each of three elements


class Replacing(Kick):
    """A rate that puts another tensor in the place of its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.scale = self.scale + 1
        return super().forward(x)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_buffers_that_a_rate_replaces_are_those_of_accepted_steps(gradient: str) -> None:
    block = ODEBlock(Replacing, scheme="tsit5", gradient=gradient, rtol=1e-4, atol=1e-4)
    x = torch.linspace(0.9, 1.1, 12, dtype=torch.float64).view(3, 4).requires_grad_()
    block(x).sum().backward()
    assert block.effort.n_rejected > 0
    assert block.nodes[0].scale.item() == block.nodes[0].norm.num_batches_tracked.item()


class Late(nn.Module):
    """A rate that draws random numbers from its second evaluation on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()
        self.n = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n += 1
        result: Tensor = self.linear(x)
        return result if self.n == 1 else nn.functional.dropout(result, 0.5)


def test_random_numbers_that_are_drawn_late_are_equal_in_all_stages_of_a_step() -> None:
    block = ODEBlock(Late, scheme="tsit5", rtol=1e-3, atol=1e-3)
    torch.manual_seed(0)
    block(torch.ones(2, 4, dtype=torch.float64))
    assert block.effort.n_accepted < 20


@pytest.mark.parametrize("at", [0.0, 0.6])
def test_what_a_pass_cost_is_known_where_it_failed(at: float) -> None:
    calls: list[int] = []

    class Failing(Growth):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(1)
            return super().forward(x)

    block = ODEBlock(Failing, 2, scheme="tsit5")
    x = torch.ones(2, dtype=torch.float64)
    block(x)
    with torch.no_grad():
        block.nodes[round(at)].a.fill_(math.nan)
    calls.clear()
    with pytest.raises(RuntimeError, match="the state is not finite"):
        block(x)
    assert block.n_f_evals == len(calls)


@pytest.mark.parametrize("as_", [torch.tensor, np.array, iter, tuple])
def test_times_may_be_any_numbers(as_: Callable[[list[float]], Any]) -> None:
    block = growth("tsit5", "piecewise_linear", 1e-4)
    x = torch.ones(2, dtype=torch.float64)
    expected = block.trajectory(x, [0.25, 0.5])
    assert torch.equal(block.trajectory(x, as_([0.25, 0.5])), expected)
    with pytest.raises(ValueError, match="times must be numbers from 0 to 1, got"):
        block.trajectory(x, ["early"])


def test_a_scheme_by_name_keeps_the_control_and_the_limit_of_steps() -> None:
    block = ODEBlock(Linear, scheme="tsit5", control="image", max_num_steps=70, rtol=1e-2)
    block.set_manifestation("dopri5", rtol=1e-3)
    scheme = block.scheme
    assert isinstance(scheme, AdaptiveScheme)
    assert (scheme.name, scheme.control, scheme.max_num_steps) == ("dopri5", "image", 70)
    found = manifestations(nn.Sequential(block), ["tsit5", "dopri5"], None, [1e-1])
    assert [one.scheme.control for one in found] == ["image"] * 3


def test_a_rate_that_is_too_large_and_a_tolerance_that_is_too_small() -> None:
    block = ODEBlock(lambda: nn.Linear(3, 3, bias=False), scheme="tsit5", atol=1e-46)
    assert block(torch.zeros(2, 3)).isfinite().all()  # where 0 / 0 was no number
    block = ODEBlock(lambda: nn.Linear(3, 3), scheme="tsit5")
    with torch.no_grad():
        block.nodes[0].bias.fill_(1e36)
    with pytest.raises(RuntimeError, match="the rate is too large for the tolerance, at t = 0"):
        block(torch.zeros(2, 3))


def test_no_step_grows_right_after_a_rejection() -> None:
    control = StepControl(5)
    assert control.after_accepted(1e-9) == LARGEST_FACTOR
    assert control.after_rejected(2.0) < 1
    assert control.after_accepted(1e-6) == 1
    assert control.after_accepted(1e-6) > 1
    assert control.after_rejected(math.nan) == SMALLEST_FACTOR
