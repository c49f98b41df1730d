"""Refinement of ODE blocks: the function is kept."""

import copy
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from contnet import SCHEMES, ContinuousNet, ODEBlock, Scheme
from contnet.ode.depth_time import depth_time
from contnet.ode.rescaling import before_batch_norms, last_affine
from tests.ode.theta import BASES_AND_SIZES, Value, some_times, theta
from tests.problems import Smooth, slope


@pytest.mark.parametrize(("name", "n"), BASES_AND_SIZES)
def test_refinement_keeps_theta_at_all_times_and_projecting_back_returns_the_nodes(
    name: str, n: int
) -> None:
    block = ODEBlock(Value, n_basis=n, basis=name)
    before = copy.deepcopy(block)
    block.refine()
    assert (block.n_basis, block.n_time_steps) == (before.basis.n_refined, 2 * before.n_time_steps)
    for t, from_left in some_times(2 * n):
        assert theta(block, t, from_left=from_left) == pytest.approx(
            theta(before, t, from_left=from_left), abs=1e-12
        )
    block.project(n)
    for node, original in zip(block.nodes, before.nodes, strict=True):
        assert node.theta.item() == pytest.approx(original.theta.item(), abs=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"activation_before_conv": True}, {"use_skipinit": True}], ids=str
)
def test_refining_at_the_same_number_of_steps_changes_no_bit_of_the_logits(options: dict) -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2, n_time_steps_per=2, **options)
    x = torch.randn(8, 3, 16, 16)
    network(x)  # running statistics that are not the initial ones
    network.eval()
    before = network(x)
    network.refine()
    assert (depth_time(network).n_basis, depth_time(network).n_time_steps) == (4, 8)
    network.set_manifestation(n_time_steps=4)
    assert torch.equal(network(x), before)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_with_twice_the_steps_the_change_falls_at_the_schemes_order(scheme: Scheme) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    block = ODEBlock(Smooth, n_basis=2, scheme=scheme, epsilon=2.0)
    refined = copy.deepcopy(block)
    refined.refine()

    def change(n: int) -> float:
        block.set_manifestation(n_time_steps=n)
        refined.set_manifestation(n_time_steps=2 * n)
        return (refined(x) - block(x)).norm().item()

    assert slope(change, [32, 64, 128, 256]) == pytest.approx(scheme.order, abs=0.2)


NESTED = [
    *[("piecewise_constant", 1, n) for n in (2, 3, 8)],
    ("piecewise_constant", 2, 6),
    ("piecewise_linear", 2, 6),
    ("piecewise_linear", 4, 8),
    *[("continuous_linear", 1, n) for n in (2, 3, 9)],
    ("continuous_linear", 3, 7),
    ("legendre", 1, 3),
    ("legendre", 2, 8),
]


@pytest.mark.parametrize(("name", "n", "finer"), NESTED)
@pytest.mark.parametrize("grow", [False, True], ids=["keep", "grow"])
def test_a_refinement_to_any_nested_basis_keeps_the_function(
    name: str, n: int, finer: int, grow: bool
) -> None:
    def rate() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()

    block = ODEBlock(rate, n_basis=n, n_time_steps=12, basis=name, scheme="rk4", epsilon=3.0)
    x = torch.randn(3, 4, dtype=torch.float64)
    before = block(x)
    block.refine(finer, grow=grow)
    factor = block.n_time_steps // 12
    assert block.n_basis == finer
    assert (block.refined_by, block.grown_by) == (factor, factor if grow else 1)
    assert block.epsilon == 3.0 * block.grown_by
    block.set_manifestation(n_time_steps=12)
    torch.testing.assert_close(block(x), before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "n", "finer", "message"),
    [
        ("piecewise_constant", 2, 3, "piecewise_constant, 2 nodes can be refined to 4, 6, 8 "),
        ("piecewise_constant", 2, 2, "can be refined to 4, 6, 8 or more nodes, got 2"),
        ("piecewise_constant", 2, 1, "can be refined to 4, 6, 8 or more nodes, got 1"),
        ("piecewise_linear", 4, 6, "can be refined to 8, 12, 16 or more nodes, got 6"),
        ("continuous_linear", 3, 4, "can be refined to 5, 7, 9 or more nodes, got 4"),
        ("legendre", 2, 3, "can be refined to 4, 6, 8 or more nodes, got 3"),
    ],
)
def test_a_basis_that_does_not_hold_theta_is_refused(
    name: str, n: int, finer: int, message: str
) -> None:
    block = ODEBlock(Smooth, n_basis=n, basis=name)
    network = nn.Sequential(ODEBlock(Smooth), block)
    depth = depth_time(network)
    before = depth.depths
    with pytest.raises(ValueError, match=re.escape(message)):
        block.refine(finer)
    if finer > n:
        with pytest.raises(ValueError, match=re.escape(message)):
            depth.refine(finer)
    assert depth.depths == before


@pytest.mark.parametrize("name", ["piecewise_constant", "continuous_linear"])
def test_one_map_is_three_doublings_to_the_last_bit(name: str) -> None:
    once = ContinuousNet(alpha=2, basis=name).train()
    once(torch.randn(8, 3, 8, 8))
    thrice = copy.deepcopy(once)
    for _ in range(3):
        thrice.refine()
    once.refine(thrice.blocks[0].n_basis)
    assert depth_time(once).depths == depth_time(thrice).depths
    for (key, value), other in zip(
        once.state_dict().items(), thrice.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), key


@pytest.mark.parametrize("scheme", ["euler", "rk4_classic"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation_before_conv": True},
        {"use_skipinit": True},
        {"batch_norm": False},
        {"batch_norm": False, "activation_before_conv": True, "use_skipinit": True},
        {"basis": "continuous_linear"},
        {"basis": "legendre"},
    ],
    ids=str,
)
def test_growing_keeps_the_logits_and_gives_epsilon_the_nodes(options: dict, scheme: str) -> None:
    network = ContinuousNet(alpha=4, scheme=scheme, **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("scale"):  # SkipInit begins at 0
                parameter.fill_(0.5)
            if "nodes" in name and "conv1" in name:
                parameter[0] *= 1e-3  # a channel whose variance is not large beside eps
    x = torch.randn(8, 3, 8, 8)
    network(x)
    in_training = copy.deepcopy(network)(x)
    before = network.eval()(x)
    n_steps = network.blocks[0].n_time_steps
    network.refine(3 if options.get("basis") == "continuous_linear" else 4, grow=True)
    assert {block.epsilon for block in network.blocks} == {4.0}
    assert network.blocks[0].n_time_steps == 4 * n_steps
    network.set_manifestation(n_time_steps=n_steps)
    torch.testing.assert_close(network(x), before, rtol=1e-5, atol=1e-5)
    resized = ContinuousNet(alpha=4, scheme=scheme, **options).eval()
    depth_time(resized).resize(depth_time(network).depths)
    resized.load_state_dict(network.state_dict())
    assert torch.equal(resized(x), network(x))
    if options.get("basis") != "legendre":  # whose norms were not refined for other statistics
        torch.testing.assert_close(network.train()(x), in_training, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("basis", "eps"), [("piecewise_linear", 1e-5 / 4), ("legendre", 1e-5)])
def test_a_grown_block_is_projected_and_loaded_with_the_eps_that_it_has(
    basis: str, eps: float
) -> None:
    def rate() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 4))

    block = ODEBlock(rate)
    block(torch.randn(8, 4))
    block.refine(4, grow=True)
    assert block.nodes[3][2].eps == pytest.approx(1e-5 / 4)
    block.project(4, basis)
    assert block.nodes[1][2].eps == pytest.approx(eps)
    loaded = ODEBlock(rate, n_basis=2, basis=basis)
    loaded.resize(basis, 4, 4, block.refined_by, block.grown_by)
    loaded.load_state_dict(block.state_dict())
    x = torch.randn(2, 4)
    torch.testing.assert_close(loaded.eval()(x), block.eval()(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("before", [False, True], ids=["post-activation", "pre-activation"])
def test_after_growing_every_inner_weight_learns_as_fast_as_before(before: bool) -> None:
    """Relative to its size, that is: a convolution before a norm, and one copy of m = 4."""
    network = ContinuousNet(alpha=4, activation_before_conv=before).double()
    x = torch.randn(8, 3, 8, 8, dtype=torch.float64)
    network(x)

    def speeds() -> dict[str, float]:
        network.zero_grad()
        network(x).square().sum().backward()
        found: dict[str, float] = {}
        for name, parameter in network.named_parameters():
            if re.search(r"nodes\.0.*conv1.weight", name):
                found[name] = (parameter.grad.norm() / parameter.norm()).item()
        return found

    network.eval()
    first = speeds()
    network.refine(4, grow=True)
    network.set_manifestation(n_time_steps=1)  # one copy takes the step of all four
    assert speeds() == pytest.approx({key: 4 * value for key, value in first.items()}, rel=1e-9)


def test_maps_before_batch_norms_are_found_where_a_sequence_says_so() -> None:
    linear = nn.Linear(4, 4)
    norm = nn.BatchNorm1d(4)
    rates = [
        nn.Sequential(linear, nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 4)),
        nn.Sequential(nn.Sequential(linear, nn.Dropout()), nn.BatchNorm1d(4), nn.Linear(4, 4)),
        nn.Sequential(linear, nn.Tanh(), nn.BatchNorm1d(4), nn.Linear(4, 4)),
        nn.Sequential(linear, nn.BatchNorm1d(4), linear, nn.BatchNorm1d(4), nn.Linear(4, 4)),
        nn.Sequential(linear, norm, nn.Linear(4, 4), norm, nn.Linear(4, 4)),
        nn.Sequential(linear, nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 4)),
        nn.Sequential(linear, nn.LayerNorm(4), nn.Linear(4, 4)),
        nn.Sequential(weight_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4), nn.Linear(4, 4)),
        nn.Sequential(linear, nn.GroupNorm(2, 4, affine=False), nn.BatchNorm1d(4), linear),
        Skipping(linear, nn.BatchNorm1d(4), nn.Linear(4, 4)),
        Smooth(),
    ]
    found = [before_batch_norms(rate) for rate in rates]
    assert found == [[("0", "2")], [("0.0", "1")], *[[]] * 9]


class Skipping(nn.Sequential):
    """A sequence with another way around it: what divides its last map does not divide it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Standardised(nn.Linear):
    """A linear layer that does not multiply by its weight, but by its weight's direction."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, nn.functional.normalize(self.weight), self.bias)


class Named(nn.Module):
    """A rate whose last affine map has that name."""

    def __init__(self) -> None:
        super().__init__()
        self.last_affine = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last_affine(torch.tanh(x))


class Wrong(nn.Module):
    """A rate that says that its last map is another module, which is none of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def last_affine(self) -> nn.Module:
        return nn.Sequential(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Own(nn.Module):
    """A rate that is no nn.Sequential, and says which map is its last."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.gate = nn.Linear(4, 4), nn.Linear(4, 4)

    def last_affine(self) -> nn.Module:
        return self.out

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.out(torch.tanh(self.gate(x))))


def tied() -> nn.Module:
    linear = nn.Linear(4, 4)
    return nn.Sequential(linear, nn.Tanh(), linear)


@pytest.mark.parametrize(
    ("rate", "names"),
    [
        (Own, ["out.weight", "out.bias"]),
        (lambda: nn.Linear(4, 4, bias=False), ["weight"]),
        (Named, ["last_affine.weight", "last_affine.bias"]),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout()), ["0.weight", "0.bias"]),
        (lambda: nn.Sequential(nn.Tanh(), nn.Sequential(Own(), nn.Identity())), None),
    ],
)
def test_the_last_affine_map_is_found(rate: type, names: list[str] | None) -> None:
    found = last_affine(rate())
    assert found == (names or ["1.0.out.weight", "1.0.out.bias"])


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (Smooth, "Smooth must be an nn.Sequential that ends in an affine map, or have a method"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh()), "Sequential must be an nn.Sequential"),
        (lambda: nn.Sequential(), "Sequential must be an nn.Sequential that ends in an affine map"),
        (lambda: weight_norm(nn.Linear(4, 4)), "must be an nn.Sequential that ends in an affine"),
        (
            lambda: nn.BatchNorm1d(4, affine=False),
            "of BatchNorm1d must be a part of it with parameters",
        ),
        (tied, "the last affine map of Sequential must share no parameters"),
        (Wrong, "the last affine map of Wrong must be a part of it with parameters"),
        (lambda: Standardised(4, 4), "Standardised must be an nn.Sequential that ends in an"),
        (lambda: Skipping(nn.Linear(4, 4)), "Skipping must be an nn.Sequential that ends in an"),
    ],
)
def test_a_rate_without_a_last_affine_map_is_told(rate: type, message: str) -> None:
    block = ODEBlock(rate)
    with pytest.raises(ValueError, match=re.escape(message)):
        block.refine(2, grow=True)
    assert (block.n_basis, block.epsilon) == (1, 1.0)


def test_children_have_their_parents_weights_statistics_and_scalars() -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2, use_skipinit=True)
    network(torch.randn(4, 3, 8, 8))
    parents = [
        [copy.deepcopy(node.state_dict()) for node in block.nodes] for block in network.blocks
    ]
    others = copy.deepcopy([network.stem, network.stitches, network.head])
    network.refine()
    for block, old in zip(network.blocks, parents, strict=True):
        for k, node in enumerate(block.nodes):
            for name, value in node.state_dict().items():
                assert torch.equal(value, old[k // 2][name]), name
    for module, old in zip([network.stem, network.stitches, network.head], others, strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(module.parameters(), old.parameters(), strict=True)
        )
    storages = [parameter.data_ptr() for parameter in network.parameters()]
    assert len(set(storages)) == len(storages)
