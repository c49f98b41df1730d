"""Projection of theta(t) onto another basis."""

import copy
import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import contnet
from contnet import ContinuousNet, ODEBlock, project
from contnet.networks.units import ResidualUnit
from contnet.ode.bases import make_basis
from contnet.ode.basis import projection
from contnet.ode.depth_time import depth_time
from tests.ode.theta import BASES_AND_SIZES, SMOOTH, Value, quadrature, some_times, theta, values
from tests.problems import slope


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


PAIRS = [(a, b) for a, b in itertools.permutations(BASES_AND_SIZES, 2) if a[1] > 2 and b[1] > 1]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_the_residual_of_a_projection_is_orthogonal_to_the_target(
    source: tuple[str, int], target: tuple[str, int]
) -> None:
    """Compute the integrals by Gauss's quadrature, independently of `projection`."""
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


def test_more_nodes_of_any_basis_come_nearer_to_a_smooth_theta() -> None:
    """Project a polynomial of degree 7: the error falls by the bases' orders, 1 and 2."""
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
        assert slope(lambda n, name=name: error(name, n), [16, 32, 64]) == pytest.approx(
            order, abs=0.1
        )


def random_network(name: str, n: int, seed: int = 0) -> ContinuousNet:
    """Return a network of different nodes, some of whose running variances are tiny."""
    torch.manual_seed(seed)
    network = ContinuousNet(alpha=2, initial_time_d=n, basis=name, n_time_steps_per=2)
    randomise_statistics(network)
    return network.eval()


def randomise_statistics(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.copy_(torch.randn_like(module.running_var).mul(4).exp())


def variances_at_stages(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the running variances that batch norms are given in a forward pass."""
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


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))]
)
@pytest.mark.parametrize(
    "source", [(name, n) for name, n in BASES_AND_SIZES if n in (2, 3, 8)], ids=str
)
def test_variances_are_never_negative_and_never_nan(source: tuple[str, int], seed: int) -> None:
    torch.manual_seed(seed)
    name, n = source
    block = ODEBlock(lambda: ResidualUnit(14, 14), n_basis=n, n_time_steps=2 * n, basis=name).eval()
    randomise_statistics(block)
    x = torch.randn(2, 14, 4, 4)
    for target in BASES_AND_SIZES:
        projected = project(block, target[1], target[0])
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


@pytest.mark.long
@pytest.mark.parametrize("basis", ["piecewise_constant", "continuous_linear", "legendre"])
def test_a_projected_network_is_exported_like_any_other(basis: str, tmp_path: Path) -> None:
    projected = contnet.project(ContinuousNet(alpha=2, initial_time_d=4), 3, basis).eval()
    images = torch.randn(2, 3, 8, 8)
    torch.export.save(torch.export.export(projected, (images,)), tmp_path / "network.pt2")
    exported = torch.export.load(tmp_path / "network.pt2").module()
    torch.testing.assert_close(exported(images), projected(images), rtol=1e-5, atol=1e-6)
