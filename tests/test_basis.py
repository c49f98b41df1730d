"""theta(t) in every basis: what it is, that refinement keeps it, what projection makes of it, batch norm along it."""

import copy
import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from contnet import SCHEMES, ContinuousNet, ODEBlock, ResNet, Scheme, project
from contnet.networks.units import ResidualUnit
from contnet.ode.bases import BASES, ContinuousLinear, PiecewiseLinear, make_basis
from contnet.ode.basis import Basis, projection
from contnet.ode.combination import Combination
from contnet.ode.depth_time import depth_time
from contnet.training.callbacks.refinement import hand_down
from tests.problems import Linear, slope

BASES_AND_SIZES = [
    *[("piecewise_constant", n) for n in (1, 3, 4, 8)],
    *[("piecewise_linear", n) for n in (2, 4, 6, 8)],
    *[("continuous_linear", n) for n in (1, 2, 3, 5, 9)],
    *[("legendre", n) for n in (1, 2, 3, 8)],
]
SMOOTH = ("piecewise_linear", "continuous_linear", "legendre")


class Value(nn.Module):
    """A node that is one number of theta."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.randn((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.theta.expand_as(x)


def theta(block: ODEBlock, t: Fraction, *, from_left: bool = False) -> float:
    """theta(t) of a block of `Value`s, as the block itself evaluates it."""
    weights = block.basis.weights(t, block.basis.locate(t, from_left=from_left))
    return block.basis.rate(block.nodes, weights)(torch.zeros((), dtype=torch.float64)).item()


def some_times(n: int) -> list[tuple[Fraction, bool]]:
    """Times, knots of any basis of up to `n` elements among them, from either side."""
    times = {Fraction(i, d) for d in (*range(1, n + 1), 100) for i in range(d + 1)}
    return [
        (t, side)
        for t in sorted(times)
        for side in (False, True)
        if (t, side) not in ((0, True), (1, False))
    ]


@pytest.mark.parametrize(("name", "n"), BASES_AND_SIZES)
def test_theta_is_what_the_definition_says(name: str, n: int) -> None:
    block = ODEBlock(Value, n_basis=n, basis=name)
    nodes = np.array([node.theta.item() for node in block.nodes])
    for t, from_left in some_times(10):
        if name == "legendre":
            expected = np.polynomial.legendre.legval(2 * float(t) - 1, nodes)
        elif name == "continuous_linear":
            expected = np.interp(float(t), np.linspace(0, 1, n), nodes) if n > 1 else nodes[0]
        else:
            in_element = n // 2 if name == "piecewise_linear" else n
            position = t * in_element
            element = (
                -(-position.numerator // position.denominator) - 1 if from_left else position // 1
            )
            s = float(position - element)
            pair = (
                nodes[2 * element : 2 * element + 2]
                if name == "piecewise_linear"
                else nodes[[element, element]]
            )
            expected = (1 - s) * pair[0] + s * pair[1]
        assert theta(block, t, from_left=from_left) == pytest.approx(expected, abs=1e-13)


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


@pytest.mark.parametrize(("name", "n"), BASES_AND_SIZES)
def test_projection_onto_the_same_basis_is_the_identity(name: str, n: int) -> None:
    basis = make_basis(name, n)
    assert projection(basis, basis) == tuple(((k, Fraction(1)),) for k in range(n))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (("piecewise_constant", 4), ("piecewise_constant", 12)),
        (("piecewise_constant", 4), ("piecewise_linear", 8)),
        (("continuous_linear", 4), ("piecewise_linear", 6)),
        (("continuous_linear", 3), ("continuous_linear", 7)),
        (("legendre", 2), ("continuous_linear", 5)),
        (("legendre", 3), ("legendre", 6)),
        (("continuous_linear", 2), ("legendre", 4)),
    ],
    ids=str,
)
def test_what_the_target_holds_is_reproduced(
    source: tuple[str, int], target: tuple[str, int]
) -> None:
    block = ODEBlock(Value, n_basis=source[1], basis=source[0])
    projected = project(block, target[1], target[0])
    for t, from_left in some_times(12):
        assert theta(projected, t, from_left=from_left) == pytest.approx(
            theta(block, t, from_left=from_left), abs=1e-12
        )


def quadrature(n_pieces: int) -> tuple[list[Fraction], np.ndarray]:
    """Gauss's points and weights on each of equal pieces of [0, 1], exact for the products that are tested."""
    points, weights = np.polynomial.legendre.leggauss(10)
    places = [
        (Fraction(i) + Fraction((p + 1) / 2)) / n_pieces for i in range(n_pieces) for p in points
    ]
    return places, np.tile(weights / 2 / n_pieces, n_pieces)


def values(basis: Basis, times: list[Fraction]) -> np.ndarray:
    """phi_k(t) by row and column."""
    found = np.zeros((basis.n_basis, len(times)))
    for i, t in enumerate(times):
        for k, weight in basis.weights(t, basis.locate(t, from_left=False)):
            found[k, i] = weight
    return found


PAIRS = [(a, b) for a, b in itertools.permutations(BASES_AND_SIZES, 2) if a[1] > 2 and b[1] > 1]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_the_residual_of_a_projection_is_orthogonal_to_the_target(
    source: tuple[str, int], target: tuple[str, int]
) -> None:
    """By Gauss's quadrature, an independent implementation of the integrals."""
    a, b = make_basis(*source), make_basis(*target)
    times, weights = quadrature(np.lcm(a.n_elements, b.n_elements))
    old = torch.randn(a.n_basis, dtype=torch.float64).numpy()
    new = np.array([sum(float(weight) * old[k] for k, weight in row) for row in projection(a, b)])
    residual = old @ values(a, times) - new @ values(b, times)
    np.testing.assert_allclose(values(b, times) @ (weights * residual), 0, atol=1e-12)


def test_pieces_that_align_are_averaged_with_equal_weights() -> None:
    half = Fraction(1, 2)
    rows = projection(make_basis("piecewise_constant", 16), make_basis("piecewise_constant", 8))
    assert rows == tuple(((2 * k, half), (2 * k + 1, half)) for k in range(8))


class Smooth(nn.Module):
    """R(x) = tanh(A x), nowhere kinked."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = Linear()

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=str)
@pytest.mark.parametrize("name", BASES)
def test_the_state_converges_with_the_order_of_the_scheme(name: str, scheme: Scheme) -> None:
    block = ODEBlock(Smooth, n_basis=4, basis=name, scheme=scheme, epsilon=2.0)
    if name == "continuous_linear":
        block.project(5)  # four elements, whose knots the steps below meet
    x = torch.randn(3, 4, dtype=torch.float64)
    with torch.no_grad():
        block.set_manifestation("rk4_classic", n_time_steps=1024)
        exact = block(x)
        block.set_manifestation(scheme)

        def error(n: int) -> float:
            block.set_manifestation(n_time_steps=n)
            return (block(x) - exact).norm().item()

        assert slope(error, [16, 32, 64]) == pytest.approx(scheme.order, abs=0.35)
        adaptive = copy.deepcopy(block)
        adaptive.set_manifestation("dopri5", rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(adaptive(x), exact, rtol=1e-6, atol=1e-6)


def random_network(name: str, n: int, seed: int = 0) -> ContinuousNet:
    """With weights and statistics that differ from node to node, some of the variances tiny."""
    torch.manual_seed(seed)
    network = ContinuousNet(alpha=2, initial_time_d=n, basis=name, n_time_steps_per=2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.copy_(torch.randn_like(module.running_var).mul(4).exp())
    return network.eval()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "source", [(name, n) for name, n in BASES_AND_SIZES if n in (2, 3, 8)], ids=str
)
def test_variances_are_never_negative_and_never_nan(source: tuple[str, int], seed: int) -> None:
    network = random_network(*source, seed)
    x = torch.randn(2, 3, 8, 8)
    for target in BASES_AND_SIZES:
        projected = project(network, target[1], target[0])
        for name, buffer in projected.named_buffers():
            if name.endswith("running_var"):
                assert buffer.isfinite().all(), name
                assert (buffer >= 0).all(), name
        seen = variances_at_stages(projected, x)
        assert all(variance.isfinite().all() and (variance >= 0).all() for variance in seen)
        projected.refine()
        projected.train()(x)
        assert all(
            (b.isfinite() & (b >= 0)).all()
            for n, b in projected.named_buffers()
            if n.endswith("running_var")
        )


def variances_at_stages(network: nn.Module, x: Tensor) -> list[Tensor]:
    """The running variances that batch norms are given in a forward pass."""
    seen = []
    hooks = [
        module.register_forward_pre_hook(lambda norm, _: seen.append(norm.running_var.clone()))
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("name", SMOOTH)
def test_refined_networks_compute_the_same_and_projecting_them_back_does_too(name: str) -> None:
    network = random_network(name, 4).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    before = network(x)
    refined = copy.deepcopy(network)
    refined.refine()
    refined.set_manifestation(n_time_steps=depth_time(network).n_time_steps)
    torch.testing.assert_close(refined(x), before, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(project(refined, 4)(x), before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "n"), [("piecewise_linear", 4), ("continuous_linear", 2), ("legendre", 4)]
)
def test_statistics_along_depth_become_those_of_the_batches(name: str, n: int) -> None:
    """Training on one batch over and over with weights that stay: the statistics at each stage become that batch's."""
    nodes = [ResidualUnit(3, 3) for _ in range(n)]
    with torch.no_grad():  # nodes that have something in common, as refined ones have
        for node in nodes:
            for parameter, first in zip(node.parameters(), nodes[0].parameters(), strict=True):
                parameter.lerp_(first, 0.8)
    block = ODEBlock(iter(nodes).__next__, n_basis=n, n_time_steps=n, basis=name)
    x = torch.randn(16, 3, 5, 5)
    trained = block.train()(x)
    for _ in range(600):
        block(x)
    x_unbiased = block.eval()(x)
    # Running variances are unbiased (n - 1), batch variances are not (n): a relative difference of 1/800.
    torch.testing.assert_close(x_unbiased, trained, rtol=2e-2, atol=2e-2)


def test_each_pass_counts_once_in_every_node_that_it_met() -> None:
    block = ODEBlock(
        lambda: ResidualUnit(2, 2), n_basis=2, n_time_steps=2, basis="continuous_linear"
    ).train()
    block(torch.randn(4, 2, 3, 3))
    # Euler's method looks up t = 0, node 0 alone, and t = 1/2, both.
    assert [node.bn1.num_batches_tracked.item() for node in block.nodes] == [2, 1]


def test_piecewise_constants_compute_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Combination, "forward")
    ContinuousNet(alpha=2, initial_time_d=4, scheme="rk4")(torch.randn(2, 3, 8, 8)).sum().backward()


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_combined_once_is_what_is_looked_up(name: str) -> None:
    """Against a copy of a node into which theta(t) is written by hand, at each step of Euler's method."""
    block = (
        ODEBlock(lambda: ResidualUnit(3, 3), n_basis=4, n_time_steps=3, basis=name).double().eval()
    )
    state = x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    by_hand = copy.deepcopy(block.nodes[0])
    for n in range(3):
        t = Fraction(n, 3)
        weights = block.basis.weights(t, block.basis.locate(t, from_left=False))
        with torch.no_grad():
            for parameter_name, parameter in by_hand.named_parameters():
                parts = [
                    weight * dict(block.nodes[k].named_parameters())[parameter_name]
                    for k, weight in weights
                ]
                parameter.copy_(torch.stack(parts).sum(0))
            for norm_name in ("bn1", "bn2"):
                norms = [(getattr(block.nodes[k], norm_name), weight) for k, weight in weights]
                if block.basis.nodal:
                    deviation = sum(weight * norm.running_var.sqrt() for norm, weight in norms)
                else:
                    deviation = sum(
                        weight * (norm.running_var - 1 / norm.running_var) for norm, weight in norms
                    )
                getattr(by_hand, norm_name).running_var.copy_(deviation.square())
        state = state + by_hand(state) / 3
    torch.testing.assert_close(block(x), state, rtol=1e-12, atol=1e-12)


class Encoder(nn.Module):
    """The rate of a transformer: attention, then an MLP, with layer norms before each."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, num_heads=2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        y = self.attention(y, y, y, need_weights=False)[0]
        return y + self.mlp(self.norm2(x + y))


@pytest.mark.parametrize("name", BASES)
def test_a_transformer_learns_to_sort_refines_and_is_projected(name: str) -> None:
    """Sequences of five digits, to be put in order."""
    torch.manual_seed(0)
    block = ODEBlock(Encoder, n_basis=2, n_time_steps=2, basis=name, epsilon=2.0)
    network = nn.Sequential(nn.Embedding(10, 16), block, nn.Linear(16, 10))
    place = nn.Parameter(torch.randn(5, 16))
    parameters = [*network.parameters(), place]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)

    def loss(n: int = 64) -> Tensor:
        digits = torch.randint(10, (n, 5))
        logits = network[2](block(network[0](digits) + place))
        return nn.functional.cross_entropy(logits.flatten(0, 1), digits.sort().values.flatten())

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    train(150)
    with torch.no_grad():
        untrained, learned = np.log(10), loss(512).item()
    assert learned < 0.75 * untrained
    x = torch.randn(3, 5, 16)
    before, n_time_steps = block(x), block.n_time_steps
    origins = block.refine()
    hand_down(optimizer, nn.ModuleList([network, nn.ParameterList([place])]), origins, carry=True)
    block.set_manifestation(n_time_steps=n_time_steps)
    torch.testing.assert_close(block(x), before, rtol=1e-4, atol=1e-5)
    train(100)
    with torch.no_grad():
        assert loss(512).item() < learned
        projected = project(block, 2 if name != "legendre" else 3)
        assert projected(x).isfinite().all()


def test_more_nodes_of_any_basis_come_nearer_to_a_smooth_theta() -> None:
    """theta(t) = a polynomial of degree 7, projected: the error falls as the bases' orders say, 1 and 2."""
    exact = make_basis("legendre", 8)
    nodes = torch.randn(8, dtype=torch.float64).numpy()

    def error(name: str, n_elements: int) -> float:
        sizes = {"piecewise_constant": n_elements, "piecewise_linear": 2 * n_elements}
        target = make_basis(name, sizes.get(name, n_elements + 1))
        times, weights = quadrature(n_elements)
        new = np.array(
            [
                sum(float(weight) * nodes[k] for k, weight in row)
                for row in projection(exact, target)
            ]
        )
        residual = nodes @ values(exact, times) - new @ values(target, times)
        return float(np.sqrt(weights @ residual**2))

    for name, order in (
        ("piecewise_constant", 1),
        ("piecewise_linear", 2),
        ("continuous_linear", 2),
    ):
        assert slope(lambda n, name=name: error(name, n), [32, 64, 128]) == pytest.approx(
            order, abs=0.1
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: make_basis("chebyshev", 2),
            "basis must be one of piecewise_constant, .*; got 'chebyshev'",
        ),
        (lambda: make_basis("legendre", 0), "n_basis must be a whole number of at least 1, got 0"),
        (lambda: PiecewiseLinear(3), "n_basis must be a multiple of 2, got 3"),
        (
            lambda: ContinuousNet(basis="piecewise_linear"),
            "initial_time_d must be a multiple of 2 with the basis piecewise_linear, got 1",
        ),
        (
            lambda: ODEBlock(Linear, basis="legendre", gradient="adjoint"),
            "gradient must be backprop or checkpoint with the basis legendre, got 'adjoint'",
        ),
        (
            lambda: project(ResNet(depth=8), 2),
            "network must have ODE blocks to project, got ResNet",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_functions_that_depend_on_one_another_or_miss_a_constant_are_no_basis() -> None:
    class Twice(PiecewiseLinear):
        def functions(self, element: int) -> dict[int, tuple[Fraction, ...]]:
            return {0: (Fraction(1, 2),), 1: (Fraction(1, 2),)}

    class TooMuch(ContinuousLinear):
        def functions(self, element: int) -> dict[int, tuple[Fraction, ...]]:
            return {0: (Fraction(1),), 1: (Fraction(0), Fraction(1))}

    with pytest.raises(ValueError, match="linearly dependent"):
        Twice(2)
    with pytest.raises(ValueError, match="do not add up to 1"):
        TooMuch(2)


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
