"""Pictures of studies of small networks, among them some with schemes and bases of their own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from contnet import SCHEMES, ODEBlock
from contnet.invariance.plan import Plan
from contnet.invariance.report.latency import pareto_front
from contnet.invariance.report.look import basis_look, scheme_look
from contnet.invariance.report.page import page
from contnet.invariance.report.pictures import pictures
from contnet.invariance.store import Store
from contnet.invariance.study import Study, study
from contnet.ode.bases import BASES, Legendre
from contnet.ode.schemes import ADAPTIVE_SCHEMES
from tests.invariance.results import subject


class Monomials(Legendre):
    """Another basis of the polynomials; their functions do not matter to a picture."""

    name = "monomials"


def small(**settings: Any) -> nn.Module:
    """Return a network of one smooth ODE block."""

    def unit() -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh())

    block = ODEBlock(unit, **settings)
    return nn.Sequential(nn.Conv2d(3, 4, 5), block, nn.Flatten(), nn.Linear(4 * 16, 10))


def drawn(studies: list[Study], references: Sequence[Study] = ()) -> dict[str, list[str]]:
    """Draw every picture, and return the labels of its legend by the picture's name."""
    legends = {}
    for name, figure in pictures(studies, references):
        figure.draw_without_rendering()
        legends[name] = [text.get_text() for key in figure.legends for text in key.get_texts()]
    return legends


def test_a_new_scheme_and_a_new_basis_are_drawn_in_every_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(SCHEMES, "new", replace(SCHEMES["heun2"], name="new"))
    monkeypatch.setitem(BASES, "monomials", Monomials)
    assert (len(SCHEMES) + len(ADAPTIVE_SCHEMES), len(BASES)) == (13, 5)
    made, store = subject(small(scheme="new", n_basis=2)), Store(tmp_path / "store")
    schemes = Plan([*SCHEMES, *ADAPTIVE_SCHEMES], [2], rtol=[1e-1], recalibrate=True)
    bases = Plan(n_time_steps=[2], recalibrate=True, bases=list(BASES))
    swept, projected = study(made, schemes, store), study(made, bases, store)
    legends = drawn([swept])
    assert set(legends) == {"accuracy", "latency", "convergence", "classes"}
    assert {"new", "new, recalibrated"} < set(legends["accuracy"])
    assert {*SCHEMES, *ADAPTIVE_SCHEMES} < set(legends["latency"])
    assert legends["convergence"] == list(SCHEMES)
    legends = drawn([projected])
    assert {*BASES, "monomials, recalibrated"} < set(legends["projection"])
    assert "monomials" in page([projected], {}, tolerance=1)


def test_schemes_and_bases_differ_in_their_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scheme_look("euler") == {"color": "#0072B2", "marker": "o", "linestyle": "-"}
    assert scheme_look("rk4_classic") == {"color": "#D55E00", "marker": "X", "linestyle": "-"}
    assert scheme_look("adaptive_heun") == {"color": "0.6", "marker": ">", "linestyle": "--"}
    assert basis_look("legendre") == {"color": "#D55E00", "marker": "D"}
    for i in range(30):
        monkeypatch.setitem(SCHEMES, f"fixed{i}", SCHEMES["euler"])
    for i in range(16):
        monkeypatch.setitem(BASES, f"basis{i}", Legendre)
    looks = [scheme_look(name) for name in (*SCHEMES, *ADAPTIVE_SCHEMES)]
    assert len({(look["color"], look["marker"]) for look in looks}) == len(looks) == 42
    looks = [basis_look(name) for name in BASES]
    assert len({(look["color"], look["marker"]) for look in looks}) == len(looks) == 20


def test_a_scheme_that_only_the_network_knows_is_swept_and_drawn(tmp_path: Path) -> None:
    own = replace(SCHEMES["midpoint"], name="own")
    network = small(scheme=own, n_time_steps=2)
    found = study(subject(network), Plan(n_time_steps=[2, 4]), Store(tmp_path / "store"))
    assert [str(result) for result in found.results] == ["own, 2 steps", "own, 4 steps"]
    (convergence,) = found.convergence
    assert convergence.slope == pytest.approx(2, abs=0.1)
    assert "own" in drawn([found])["accuracy"]


def test_a_sweep_in_which_all_else_failed_is_drawn(
    tmp_path: Path,
) -> None:
    plan = Plan(["dopri5"], rtol=[1e-30])
    found = study(subject(small()), plan, Store(tmp_path / "store"))
    assert [result.failed is None for result in found.results] == [True, False]
    assert set(drawn([found])) == {"accuracy", "latency", "convergence"}


def test_depths_trained_from_scratch_are_a_curve_to_compare_with(tmp_path: Path) -> None:
    plan, store = Plan(convergence=False), Store(tmp_path / "store")
    studies = [
        study(replace(subject(small(n_basis=n)), identity=str(n)), p, store)
        for n, p in ((2, replace(plan, n_time_steps=[2, 4])), (1, plan), (4, plan))
    ]
    legends = drawn(studies[:1], studies[1:])
    assert "each depth trained from scratch" in legends["accuracy"]
    assert set(legends) == {"accuracy", "latency", "classes"}
    assert set(drawn(studies)) == {"accuracy", "latency", "classes-0"}


def test_the_pareto_front_has_what_nothing_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.8), (3.0, 0.7), (5.0, 0.8), (6.0, 0.9)]
    assert pareto_front(points) == [(1.0, 0.5), (3.0, 0.8), (6.0, 0.9)]
