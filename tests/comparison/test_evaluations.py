"""Evaluations: manifestations are rows, networks are columns."""

import json
from pathlib import Path

import pytest

from contnet.comparison.comparison import compare
from tests.comparison.folders import evaluation, row


def test_networks_stand_side_by_side(tmp_path: Path) -> None:
    a = [row("euler", 8, 0.5, trained=True), row("rk4", 1, 0.4), row("rk4", 2, 0.3, failed="no")]
    b = [row("euler", 2, 0.7, trained=True), row("euler", 8, 0.75)]
    names = [f"runs/{name}/checkpoints/last.ckpt" for name in "ab"]
    evaluation(tmp_path / "one", dict(zip(names, (a, b), strict=True)))
    (table,) = compare([tmp_path]).tables
    assert table.headings == ["scheme", "steps", "a accuracy", "b accuracy", "a ms", "b ms"]
    assert table.rows == [
        ("euler", "2", "-", "0.700*", "-", "0.200"),
        ("euler", "8", "0.500*", "0.750", "0.800", "0.800"),
        ("rk4", "1", "0.400", "-", "0.100", "-"),
    ]
    assert table.below == ["* as trained"]
    assert table.records[0]["network"] == "a"
    assert table.records[0]["accuracy"] == 0.5


def test_projected_recalibrated_and_adaptive_results_are_rows_of_their_own(tmp_path: Path) -> None:
    rows = [
        row("euler", 2, 0.5, trained=True),
        row("euler", 2, 0.4, n_basis=1),
        row("euler", 2, 0.6, recalibrated=True),
        {**row("dopri5", 1, 0.7), "n_time_steps": None, "rtol": 0.01},
        {**row("dopri5", 1, 0.8), "n_time_steps": None, "rtol": 0.001},
    ]
    evaluation(tmp_path / "e", {"net": rows})
    (table,) = compare([tmp_path]).tables
    assert [found[:5] for found in table.rows] == [
        ("as trained", "euler", "2", "as trained", "0.500*"),
        ("as trained", "euler", "2", "recalibrated", "0.600"),
        ("as trained", "dopri5", "rtol 0.01", "as trained", "0.700"),
        ("as trained", "dopri5", "rtol 0.001", "as trained", "0.800"),
        ("piecewise_constant 1", "euler", "2", "as trained", "0.400"),
    ]


def test_two_evaluations_of_one_checkpoint_are_named_by_their_folders(tmp_path: Path) -> None:
    for name in ("fine", "coarse"):
        evaluation(tmp_path / name, {"net": [row("euler", 2, 0.5)]})
    (table,) = compare([tmp_path]).tables
    assert table.headings[:3] == ["scheme", "steps", "net (coarse) accuracy"]
    assert table.below[1] == "ms: the machine of an evaluation is not recorded"


def test_evaluations_on_other_images_are_told_apart(tmp_path: Path) -> None:
    evaluation(tmp_path / "a", {"a": [row("euler", 2, 0.5)]})
    evaluation(tmp_path / "b", {"b": [row("euler", 2, 0.5)]}, n_classes=100)
    (table,) = compare([tmp_path]).tables
    assert table.below[-1] == (
        "accuracies on different images are not to be compared: 10 classes; 100 classes"
    )


@pytest.mark.parametrize("text", ["{", "1", '[{"rows": 3}]', '[{"checkpoint": "a", "rows": [3]}]'])
def test_a_damaged_evaluation_is_a_line(text: str, tmp_path: Path) -> None:
    (evaluation(tmp_path / "odd", {}) / "invariance.json").write_text(text)
    found = compare([tmp_path])
    assert found.tables == []
    assert [one.reason for one in found.left_out] == ["invariance.json is damaged"]


@pytest.mark.parametrize(
    ("machines", "lines"),
    [
        (("A", "A"), []),
        (("A", None), ["ms: the machine of an evaluation is not recorded"]),
        (("A", "B"), ["ms of different machines are not to be compared: a on A; b on B"]),
    ],
)
def test_milliseconds_of_different_machines_are_told(
    tmp_path: Path, machines: tuple[str, str | None], lines: list[str]
) -> None:
    for name, machine in zip("ab", machines, strict=True):
        path = tmp_path / name / "invariance.json"
        evaluation(path.parent, {name: [row("euler", 2, 0.5)]})
        stated = {"machine": machine, "test_digest": None}
        path.write_text(json.dumps([study | stated for study in json.loads(path.read_text())]))
    (table,) = compare([tmp_path]).tables
    assert table.below == ["* as trained", *lines]
