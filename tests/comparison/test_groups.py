"""Which runs are repetitions of each other, and which are never averaged together."""

from pathlib import Path

import pytest

from contnet.comparison.comparison import compare
from contnet.runs.rounding import Figure
from tests.comparison import folders


def settings(folder: Path) -> list[tuple[dict[str, str], int]]:
    """Return the settings and the number of runs of each group."""
    return [(dict(one.settings), len(one.runs)) for one in compare([folder]).groups]


def test_runs_that_differ_in_the_seed_alone_are_one_row(tmp_path: Path) -> None:
    for i, accuracy in enumerate([0.5, 0.7]):
        folders.run(
            tmp_path / f"a{i}", "epochs=2", "scheme=euler", f"seed={i}", test_accuracy=accuracy
        )
    folders.run(tmp_path / "b", "scheme=rk4", "epochs=2", f"hydra.run.dir={tmp_path / 'b'}")
    found = compare([tmp_path])
    assert found.shared == {"epochs": "2"}
    assert [one.settings for one in found.groups] == [{"scheme": "euler"}, {"scheme": "rk4"}]
    assert found.groups[0].figure("test_accuracy") == Figure(
        pytest.approx(0.6), pytest.approx(0.2 / 2**0.5), 2
    )
    assert found.groups[1].figure("test_accuracy") == Figure(0.5, None, 1)
    assert found.groups[1].figure("val_accuracy") is None


def test_a_default_is_the_value_that_the_record_has(tmp_path: Path) -> None:
    for name, overrides, lr in (("a", ["optimizer.lr=0.10"], 0.1), ("b", [], 0.1), ("c", [], 0.2)):
        folders.run(tmp_path / name, *overrides, config={"optimizer": {"lr": lr}})
    assert settings(tmp_path) == [({"optimizer.lr": "0.1"}, 2), ({"optimizer.lr": "0.2"}, 1)]


def test_a_value_that_refers_to_another_is_that_one(tmp_path: Path) -> None:
    folders.run(tmp_path / "a", config={"epochs": 5, "trainer": {"max_epochs": "${epochs}"}})
    folders.run(tmp_path / "b", "trainer.max_epochs=5", config={"trainer": {"max_epochs": 5}})
    assert settings(tmp_path) == [({}, 2)]


def test_without_a_record_a_key_that_was_not_typed_has_its_default(tmp_path: Path) -> None:
    folders.run(tmp_path / "a", "scheme=rk4")
    folders.run(tmp_path / "b")
    assert settings(tmp_path) == [({"scheme": "rk4"}, 1), ({"scheme": "default"}, 1)]


def test_a_default_that_nobody_typed_and_that_has_changed_makes_two_groups(tmp_path: Path) -> None:
    folders.run(tmp_path / "a", "epochs=1", config={"epochs": 1, "optimizer": {"nesterov": True}})
    folders.run(tmp_path / "b", "epochs=1", config={"epochs": 1, "optimizer": {"nesterov": False}})
    assert [found for found, _ in settings(tmp_path)] == [
        {"optimizer.nesterov": "true"},
        {"optimizer.nesterov": "false"},
    ]


def test_what_an_option_brings_along_is_no_setting_of_its_own(tmp_path: Path) -> None:
    for scheme, order in (("euler", 1), ("rk4", 4)):
        folders.run(
            tmp_path / scheme,
            f"scheme={scheme}",
            choices={"scheme": scheme},
            config={"scheme": {"name": scheme, "order": order}},
        )
    assert [found for found, _ in settings(tmp_path)] == [{"scheme": "euler"}, {"scheme": "rk4"}]


def test_a_run_that_is_older_than_a_key_has_its_default(tmp_path: Path) -> None:
    new = {"draw": {"pairs": None}, "epochs": 1}
    folders.run(tmp_path / "a", config={"epochs": 1}, choices={"model": "net"})
    folders.run(tmp_path / "b", config=new, choices={"model": "net", "draw": "none"})
    folders.run(
        tmp_path / "c", "draw=all", "draw.pairs=2",
        config={"draw": {"pairs": 2}, "epochs": 1}, choices={"model": "net", "draw": "all"},
    )  # fmt: skip
    assert settings(tmp_path) == [
        ({"draw": "none", "draw.pairs": "null"}, 2),
        ({"draw": "all", "draw.pairs": "2"}, 1),
    ]


@pytest.mark.parametrize(
    ("fact", "key"),
    [
        ({"test_images": 10_000}, "test_images"),
        ({"test_digest": "abc" * 20}, "test_digest"),
        ({"unreadable_images": {"test": 2}}, "unreadable_test_images"),
    ],
)
def test_accuracies_on_other_test_images_are_not_averaged(
    fact: dict[str, object], key: str, tmp_path: Path
) -> None:
    folders.run(tmp_path / "a", "seed=1", **fact)
    folders.run(tmp_path / "b", "seed=2", **fact)
    assert [n for _, n in settings(tmp_path)] == [2]
    other = {"test_images": 9_999, "test_digest": "abd" * 20, "unreadable_images": {"test": 1}}
    folders.run(tmp_path / "c", "seed=3", **{name: other[name] for name in fact})
    assert [n for _, n in settings(tmp_path)] == [2, 1]
    assert all(len(found[key]) <= 12 for found, _ in settings(tmp_path))
    (line,) = compare([tmp_path]).tables[0].below
    assert line == (
        f"accuracies on different images are not averaged, nor to be compared: {key} differ"
    )


def test_other_data_is_said(tmp_path: Path) -> None:
    folders.run(tmp_path / "a", "dataset=digits")
    folders.run(tmp_path / "b", "dataset=cifar10")
    assert compare([tmp_path]).tables[0].below[0].endswith("dataset differ")


def test_times_of_several_machines_have_no_mean_and_accuracies_have(tmp_path: Path) -> None:
    folders.run(tmp_path / "a", "seed=1", "epochs=1", machine="slow")
    folders.run(tmp_path / "b", "seed=2", "epochs=1", machine="fast")
    folders.run(tmp_path / "c", "seed=2", "epochs=2", machine="fast")
    (mixed, pure), (table,) = compare([tmp_path]).groups, compare([tmp_path]).tables
    assert mixed.figure("train_seconds") is mixed.figure("images_per_second") is None
    assert mixed.figure("test_accuracy") == Figure(0.5, 0.0, 2)
    assert pure.figure("train_seconds") == Figure(10.0, None, 1)
    place = table.headings.index("machine")
    assert [row[place] for row in table.rows] == ["1, 2", "2"]
    assert table.below == [
        "seconds and images/s of different machines are not averaged: 1 is slow; 2 is fast"
    ]


def test_a_run_that_was_ended_early_is_no_repetition_of_one_that_was_not(tmp_path: Path) -> None:
    folders.run(tmp_path / "a", "seed=1", stopped_by=None)
    folders.run(tmp_path / "b", "seed=2", stopped_by="callbacks")
    assert [found for found, _ in settings(tmp_path)] == [
        {"stopped_by": "-"},
        {"stopped_by": "callbacks"},
    ]


def test_a_figure_that_fewer_runs_have_says_of_how_many(tmp_path: Path) -> None:
    folders.run(tmp_path / "a", "seed=1", val_accuracy=0.25)
    folders.run(tmp_path / "b", "seed=2")
    (table,) = compare([tmp_path]).tables
    assert table.rows[0][table.headings.index("val accuracy")] == "0.250 (n=1)"
    assert "evals" not in table.headings


def test_evaluations_of_the_rate_are_those_of_the_last_epoch_if_the_result_has_none(
    tmp_path: Path,
) -> None:
    folders.epochs(folders.run(tmp_path / "a"), {"n_f_evals": 30.0}, {"n_f_evals": 28.0})
    folders.epochs(folders.run(tmp_path / "b", n_f_evals=26.0), {"n_f_evals": 30.0})
    (one,) = compare([tmp_path]).groups
    assert [run.figures["n_f_evals"] for run in one.runs] == [28.0, 26.0]
