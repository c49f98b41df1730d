"""A network written by hand is studied like ContinuousNet: nothing asks for its class."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from contnet import SCHEMES, ODEBlock
from contnet.invariance.convergence import block_convergence, network_convergence
from contnet.invariance.manifestation import applied, manifestations, present
from contnet.invariance.plan import Plan
from contnet.invariance.store import Store
from contnet.invariance.study import study
from contnet.ode.manifestation import Manifestation
from tests.invariance.results import EULER_2, subject


class TwoBlocks(nn.Module):
    """A network of two ODE blocks; the block that it registers first comes last."""

    def __init__(self, **last: Any) -> None:
        super().__init__()

        def unit() -> nn.Module:
            return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh())

        settings = {"n_basis": 2, "n_time_steps": 2, "scheme": "euler"}
        self.last = ODEBlock(unit, **(settings | last))
        self.first = ODEBlock(unit, **settings)
        self.stem = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.last(self.first(self.stem(x))).mean((2, 3)))
        return logits


def test_a_network_written_by_hand_is_swept_recalibrated_and_projected(tmp_path: Path) -> None:
    network = TwoBlocks()
    plan = Plan(["euler", "rk4"], [2, 4], recalibrate=True, n_basis=[2, 1])
    found = study(subject(network), plan, Store(tmp_path))
    manifestations = ["euler, 2 steps", "euler, 4 steps", "rk4, 2 steps", "rk4, 4 steps"]
    names = [*manifestations, *(f"piecewise_constant, 1 node; {name}" for name in manifestations)]
    assert [str(r) for r in found.results] == [*names, *(f"{n}, recalibrated" for n in names)]
    assert [r.n_f_evals for r in found.results[:4]] == [4, 8, 16, 32]
    assert found.results[4].parameters < found.trained.parameters
    assert found.recalibrated_verdict is not None
    assert (found.verdict.n_compared, found.recalibrated_verdict.n_compared) == (3, 4)
    assert present(network) == EULER_2


def test_each_block_is_judged_on_the_states_that_reach_it() -> None:
    network, images = TwoBlocks().eval(), torch.randn(2, 3, 8, 8)
    found = network_convergence(network, images, [SCHEMES["midpoint"]])
    with torch.no_grad():
        state = network.stem(images)
        states = [network.first(state), state]
    for number, (block, x) in enumerate(zip((network.last, network.first), states, strict=True)):
        (expected,) = block_convergence(block, x, [SCHEMES["midpoint"]])
        assert found[number].errors == pytest.approx(expected.errors, rel=1e-3)


def test_a_network_of_different_nodes_is_swept_and_projected(tmp_path: Path) -> None:
    network = TwoBlocks(n_basis=1)
    found = study(subject(network), Plan(n_time_steps=[2, 4]), Store(tmp_path))
    assert [(str(r), r.basis) for r in found.results] == [
        ("euler, 2 steps", None),
        ("euler, 4 steps", None),
    ]
    plan = Plan(n_basis=[2], convergence=False)
    assert [str(variant.basis) for variant in plan.variants(network)] == [
        "None",
        "piecewise_constant, 2 nodes",
    ]
    with pytest.raises(ValueError, match=r"n_basis must be given for a network .*, here 1, 2"):
        Plan(bases=["legendre"]).variants(network)


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ({"scheme": "rk4"}, "rk4, 2 steps; euler, 2 steps"),
        ({"n_time_steps": 4}, "euler, 4 steps; euler, 2 steps"),
    ],
)
def test_a_network_of_different_schemes_or_steps_is_not_swept(
    last: dict[str, Any], found: str
) -> None:
    network = TwoBlocks(**last)
    message = f"ODE blocks must have one scheme and one number of steps to be swept, got {found}"
    with pytest.raises(ValueError, match=message):
        present(network)
    with pytest.raises(ValueError, match=message):
        manifestations(network, ["euler"], [2], None)


def test_a_manifestation_is_applied_within_a_context_and_undone() -> None:
    network = TwoBlocks(scheme="rk4", n_time_steps=3)
    midpoint = Manifestation(SCHEMES["midpoint"], 5)
    with applied(network, midpoint):
        assert present(network) == midpoint
    settings = [(block.scheme.name, block.n_time_steps) for block in (network.last, network.first)]
    assert settings == [("rk4", 3), ("euler", 2)]
