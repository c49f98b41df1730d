"""Pictures can be read: no label collides or leaves its axes, and axes say where they are."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import log10
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from contnet import SCHEMES
from contnet.invariance.convergence import Convergence
from contnet.invariance.report.classes import MAX_CLASSES, class_map, draw_classes
from contnet.invariance.report.pictures import pictures
from contnet.invariance.report.ticks import LogTicks, accuracy_axis, steps_axis
from contnet.invariance.result import Result
from contnet.invariance.study import Study
from contnet.ode.bases import BASES, make_basis
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import ADAPTIVE_SCHEMES
from tests.invariance.report.readable import problems
from tests.invariance.results import result, study_of


def blank() -> Figure:
    return Figure(figsize=(4, 3), layout="constrained")


def test_the_measure_of_readability_sees_each_kind_of_fault() -> None:
    figure = blank()
    ax = figure.subplots()
    ax.set_xticks([0.2, 0.21, 0.9], ["collides", "with this", "x"])
    ax.text(0.95, 0.5, "leaves its axes")
    figure.text(0.99, 0.99, "leaves the picture")
    figure.text(0.5, 0.5, "tiny", fontsize=2)
    ax.set_yticks([0.1, 0.2])
    found = "\n".join(problems(figure))
    for fault in (
        "'collides' collides",
        "leaves its axes",
        "leaves the picture",
        "'tiny' has",
        "2 l",
    ):
        assert fault in found
    good = blank()
    good.subplots().set_title("good")
    assert problems(good) == []


@pytest.mark.parametrize("low", [1e-9, 0.0137, 0.96, 30, 7e8])
@pytest.mark.parametrize("factor", [1.001, 1.3, 2.2, 9, 40, 1e6, 1e30])
def test_a_logarithmic_axis_of_any_range_has_three_to_seven_ticks_in_it(
    low: float, factor: float
) -> None:
    ticks = LogTicks().tick_values(low, factor * low)
    assert 3 <= len(ticks) <= 7
    assert all(low <= tick <= factor * low for tick in ticks)
    assert min(log10(b / a) for a, b in pairwise(ticks)) > log10(factor) / 20


@pytest.mark.parametrize(
    "numbers", [[2], [1, 2], [5, 6, 7], [1, 2, 3, 4, 8, 16], [*range(1, 65)], []]
)
def test_numbers_of_steps_have_room_and_are_at_least_three(numbers: list[int]) -> None:
    figure = blank()
    ax = figure.subplots()
    steps_axis(ax, numbers, room=9)
    assert problems(figure) == []
    shown = ax.get_xticks()
    assert all(n in shown for n in numbers if n & (n - 1) == 0)


@pytest.mark.parametrize("accuracies", [[1.0], [0.0, 1.0], [0.5, 0.5001], [0.1], [0.994, 0.9944]])
def test_an_axis_of_accuracies_has_three_ticks_within_0_and_100(accuracies: list[float]) -> None:
    figure = blank()
    ax = figure.subplots()
    ax.plot(accuracies, "o")
    accuracy_axis(ax)
    assert problems(figure) == []
    low, high = ax.get_ylim()
    assert min(*accuracies, 1) >= low > -0.04
    assert max(*accuracies, 0) <= high < 1.04
    ticks = [tick for tick in ax.get_yticks() if low <= tick <= high]
    assert all(-1e-9 < tick < 1 + 1e-9 for tick in ticks)


def row(scheme: str, steps: int | None, accuracy: float = 0.6, **more: Any) -> Result:
    """Return a result whose accuracy and latency are about those of its kind."""
    known = {**SCHEMES, **ADAPTIVE_SCHEMES}[scheme]
    manifestation = Manifestation(known, steps)
    n_f_evals = manifestation.n_f_evals or 50
    figures: dict[str, Any] = {"accuracy": accuracy * (1 - 0.3 / n_f_evals), "batch_size": 256}
    figures |= {"latency_ms": 0.1 * (1 + n_f_evals) ** 0.8, "n_f_evals": n_f_evals}
    made = result("euler", 1, torch.zeros(20, dtype=torch.long), **figures)
    return replace(made, manifestation=manifestation, **more)


def check(studies: list[Study], references: Sequence[Study] = ()) -> set[str]:
    drawn = dict(pictures(studies, references))
    found = {name: problems(figure) for name, figure in drawn.items()}
    assert found == {name: [] for name in drawn}
    return set(drawn)


TWELVE = [(s, n) for s in ("euler", "midpoint", "rk4_classic") for n in (2, 1, 4, 8)]


def test_pictures_of_one_network_with_a_long_name_can_be_read() -> None:
    rows = [row("euler", n) for n in (2, 1, 3, 4, 8, 16)]
    rows += [replace(one, recalibrated=True) for one in rows]
    errors = [
        Convergence(b, s, 1, [2, 4, 8, 16, 32, 64], [10.0**-i for i in range(1, 7)], 1.0, 2)
        for b in (1, 2, 3)
        for s in ("euler", "rk4")
    ]
    name = "2026-11-27/$x_a$ lr=0.1 and a name that is much too long"
    names = check([study_of(name, rows, convergence=errors)])
    assert names == {"latency", "accuracy", "convergence", "classes"}


@pytest.mark.parametrize("accuracy", [0.1, 0.9944, 1.0])
def test_the_picture_of_one_point_can_be_read(accuracy: float) -> None:
    assert check([study_of("alone", [row("euler", 1, accuracy)])]) == {"latency", "accuracy"}


@pytest.mark.long
def test_pictures_of_every_scheme_can_be_read() -> None:
    rows = [row(name, n) for name in SCHEMES for n in (2, 1)]
    rows += [row(name, None) for name in ADAPTIVE_SCHEMES]
    check([study_of("all", [*rows, *(replace(one, recalibrated=True) for one in rows)])])


def test_pictures_of_projections_can_be_read() -> None:
    rows = [row("euler", 4, 0.8, basis=make_basis("piecewise_constant", 4), parameters=468_090)]
    rows += [
        row(
            "euler",
            s,
            0.7 + 0.01 * n,
            basis=make_basis(b, n),
            parameters=100_000 * n,
            projected=True,
        )
        for b in BASES
        for n in (2, 4)
        for s in (2, 4)
    ]
    assert "projection" in check([study_of("projected", rows)])


@pytest.mark.parametrize("n_others", [0, pytest.param(3, marks=pytest.mark.long)])
def test_pictures_of_several_networks_and_references_can_be_read(n_others: int) -> None:
    rows = [row(s, n, 0.61, seen=True) for s, n in TWELVE]
    every = study_of("every depth", rows, seen=[one.manifestation for one in rows])
    others = [
        study_of(f"other {i}", [row(s, n, 0.2 + 0.2 * i) for s, n in TWELVE])
        for i in range(n_others)
    ]
    references = [study_of(f"r{n}", [row("euler", n, 0.62)]) for n in (1, 2, 4, 8)]
    check([every, *others], references)


def test_rows_and_classes_without_change_are_left_out_of_the_map() -> None:
    found = study_of("x", [row("euler", n) for n in (2, 1, 4)], n_classes=30)
    base = torch.full((30,), 0.5)
    changed = base.clone()
    changed[[3, 29]] += torch.tensor([0.2, -0.3])
    found = replace(found, class_accuracy=torch.stack([base, base + 0.004, changed]))
    drawn = class_map(found)
    assert [str(result) for result in drawn.results] == ["euler, 4 steps"]
    assert (len(drawn.classes), drawn.classes[-1]) == (MAX_CLASSES, "class 29")
    assert drawn.left_out == [
        "16 of 30 classes, those that change most",
        "without 1 of 2 variants that change no class",
    ]
    figure = draw_classes(found)
    assert figure is not None
    assert problems(figure) == []
    assert draw_classes(replace(found, class_accuracy=torch.stack([base] * 3))) is None
