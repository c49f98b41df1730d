"""Pictures of studies of small networks, among them some with schemes and bases of their own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from torch import nn

from contnet import SCHEMES, ODEBlock
from contnet.invariance.plan import Plan
from contnet.invariance.report.latency import pareto_front
from contnet.invariance.report.look import basis_look, scheme_look
from contnet.invariance.report.page import page
from contnet.invariance.report.pictures import pictures
from contnet.invariance.result import measured
from contnet.invariance.store import Store
from contnet.invariance.study import Study, study
from contnet.ode import statistics
from contnet.ode.bases import BASES, Legendre
from contnet.ode.manifestation import Manifestation
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
    assert (len(SCHEMES) + len(ADAPTIVE_SCHEMES), len(BASES)) == (14, 5)
    made, store = subject(small(scheme="new", n_basis=2)), Store(tmp_path / "store")
    schemes = Plan([*SCHEMES, *ADAPTIVE_SCHEMES], [2], rtol=[1e-1], recalibrate=True)
    bases = Plan(n_time_steps=[2], recalibrate=True, bases=list(BASES))
    swept, projected = study(made, schemes, store), study(made, bases, store)
    legends = drawn([swept])
    # Random weights give each image the same class everywhere, so that no class changes.
    assert set(legends) == {"accuracy", "latency", "convergence"}
    assert {"new", "hollow: batch norm recalibrated"} < set(legends["accuracy"])
    assert {*SCHEMES, *ADAPTIVE_SCHEMES} < set(legends["latency"])
    assert legends["convergence"] == list(SCHEMES)
    legends = drawn([projected])
    assert {*BASES, "hollow: batch norm recalibrated"} < set(legends["projection"])
    assert "monomials" in page([projected], [], {})


def test_schemes_and_bases_differ_in_their_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scheme_look("euler") == {"color": "#0072B2", "marker": "o", "linestyle": "-"}
    assert scheme_look("rk4_classic") == {"color": "#D55E00", "marker": "X", "linestyle": "-"}
    assert scheme_look("heun_euler") == {"color": "0.1", "marker": "*", "linestyle": "--"}
    assert basis_look("legendre") == {"color": "#D55E00", "marker": "D"}
    for i in range(30):
        monkeypatch.setitem(SCHEMES, f"fixed{i}", SCHEMES["euler"])
    for i in range(16):
        monkeypatch.setitem(BASES, f"basis{i}", Legendre)
    looks = [scheme_look(name) for name in (*SCHEMES, *ADAPTIVE_SCHEMES)]
    assert len({(look["color"], look["marker"]) for look in looks}) == len(looks) == 43
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
    assert "separately trained networks" in legends["accuracy"]
    assert set(legends) == set(drawn(studies)) == {"accuracy", "latency"}


def crosses(ax: Axes) -> set[tuple[str, float]]:
    """Return colour and place of the crosses in a panel, which are the references."""
    return {
        (str(line.get_color()), float(line.get_xdata()[0]))
        for line in ax.lines
        if line.get_marker() == "+" and len(line.get_xdata())
    }


def test_references_of_every_scheme_are_drawn_in_every_panel_that_has_an_accuracy(
    tmp_path: Path,
) -> None:
    store, plan = Store(tmp_path / "store"), Plan(["euler", "rk4"], [1, 2], convergence=False)
    studies = [study(replace(subject(small()), identity=str(i)), plan, store) for i in range(2)]
    projected = study(subject(small(n_basis=2)), replace(plan, n_basis=[1]), store)
    references = [
        study(replace(subject(small(scheme=s, n_time_steps=n)), identity=f"{s}{n}"), p, store)
        for p in [Plan(convergence=False)]
        for s, n in (("euler", 1), ("euler", 4), ("rk4", 2), ("midpoint", 2))
    ]
    euler, rk4 = scheme_look("euler")["color"], scheme_look("rk4")["color"]
    latencies = {
        (scheme_look(str(one.trained.manifestation.name))["color"], one.trained_figures.latency_ms)
        for one in references
    }
    drawings = dict(pictures([projected], references)) | dict(pictures(studies, references))
    for name, expected in {
        "accuracy": [{(euler, 1), (euler, 4), (rk4, 2)}] * 2,
        "latency": [latencies],
        "projection": [{(c, references[0].trained.parameters) for c, _ in latencies}, latencies],
    }.items():
        found = [crosses(ax) for ax in drawings[name].axes]
        # The other study was trained with Euler's method in 2 steps, and is a point of its curve.
        assert [references - {(euler, 2)} for references in found] == expected, name


def test_the_set_of_a_network_is_one_line_among_the_names_of_others(tmp_path: Path) -> None:
    seen = [Manifestation(SCHEMES["euler"], n) for n in (1, 2, 4)]
    network = small()
    statistics.provide(network, seen)
    store = Store(tmp_path / "store")
    of_set = study(subject(network), Plan(["euler", "rk4"], [1, 2, 4], seen=True), store)
    alone = study(replace(subject(small()), identity="alone"), Plan(), store)
    ax = dict(pictures([of_set], [alone]))["latency"].axes[0]
    (line,) = [line for line in ax.lines if line.get_label() == "one set of weights"]
    front = pareto_front(
        [(f.latency_ms, f.accuracy) for r, f in measured(of_set.results) if r.seen]
    )
    assert list(zip(*line.get_data(), strict=True)) == front
    assert "euler 1" in {text.get_text() for text in ax.texts}


def test_the_pareto_front_has_what_nothing_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.8), (3.0, 0.7), (5.0, 0.8), (6.0, 0.9)]
    assert pareto_front(points) == [(1.0, 0.5), (3.0, 0.8), (6.0, 0.9)]
