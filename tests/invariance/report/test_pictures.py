"""Pictures of studies of small networks, among them some with schemes and bases of their own."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from contnet import SCHEMES, ContinuousNet, ODEBlock
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


def drawn(studies: list[Study], references: list[Study], folder: Path) -> dict[str, list[str]]:
    """Draw and save every picture, and return the labels of its legend by the picture's name."""
    legends = {}
    for name, figure in pictures(studies, references):
        figure.savefig(folder / f"{name}.png")
        legends[name] = [text.get_text() for key in figure.legends for text in key.get_texts()]
    return legends


def test_a_new_scheme_and_a_new_basis_are_drawn_in_every_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(SCHEMES, "new", replace(SCHEMES["heun2"], name="new"))
    monkeypatch.setitem(BASES, "monomials", Monomials)
    assert (len(SCHEMES) + len(ADAPTIVE_SCHEMES), len(BASES)) == (13, 5)
    network = ContinuousNet(alpha=2, initial_time_d=2, scheme="new")
    plan = Plan(
        schemes=[*SCHEMES, *ADAPTIVE_SCHEMES],
        n_time_steps=[2, 3],
        rtol=[1e-1],
        recalibrate=True,
        bases=list(BASES),
    )
    found = study(subject(network), plan, Store(tmp_path / "store"))
    legends = drawn([found], [], tmp_path)
    assert set(legends) == {"accuracy", "latency", "projection", "convergence", "classes"}
    assert {"new", "new, recalibrated"} < set(legends["accuracy"])
    assert {*SCHEMES, *ADAPTIVE_SCHEMES} < set(legends["latency"])
    assert {*BASES, "monomials, recalibrated"} < set(legends["projection"])
    assert legends["convergence"] == list(SCHEMES)
    assert "monomials" in page([found], {}, tolerance=1)


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
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        ODEBlock(lambda: nn.Conv2d(4, 4, 3, padding=1), scheme=own, n_time_steps=2),
        nn.Flatten(),
        nn.Linear(4 * 36, 10),
    )
    found = study(subject(network), Plan(n_time_steps=[2, 4]), Store(tmp_path / "store"))
    assert [str(result) for result in found.results] == ["own, 2 steps", "own, 4 steps"]
    (convergence,) = found.convergence
    assert convergence.slope == pytest.approx(2, abs=0.1)
    assert "own" in drawn([found], [], tmp_path)["accuracy"]


def test_depths_trained_from_scratch_are_a_curve_to_compare_with(tmp_path: Path) -> None:
    plan, store = Plan(convergence=False), Store(tmp_path / "store")
    studies = [
        study(replace(subject(ContinuousNet(alpha=2, initial_time_d=n)), identity=str(n)), p, store)
        for n, p in ((2, replace(plan, n_time_steps=[2, 4])), (1, plan), (4, plan))
    ]
    legends = drawn(studies[:1], studies[1:], tmp_path)
    assert "each depth trained from scratch" in legends["accuracy"]
    assert set(legends) == {"accuracy", "latency", "classes"}
    assert set(drawn(studies, [], tmp_path)) == {"accuracy", "latency", "classes-0"}


def test_the_pareto_front_has_what_nothing_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.8), (3.0, 0.7), (5.0, 0.8), (6.0, 0.9)]
    assert pareto_front(points) == [(1.0, 0.5), (3.0, 0.8), (6.0, 0.9)]
