"""What is found below a name, and what is said of folders that give no figures."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from contnet.comparison.comparison import compare
from contnet.comparison.runs import find
from contnet.errors import ConfigError
from tests.comparison import folders

Damage = Callable[[Path], object]


def in_result(text: str) -> Damage:
    return lambda folder: (folder / "result.json").write_text(text)


def in_record(name: str, text: str) -> Damage:
    return lambda folder: (folder / ".hydra" / name).write_text(text)


def aliases() -> str:
    """Return a short text that stands for 9^9 values."""
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, 10):
        lines.append(f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}")
    return "\n".join(lines)


def pipe(folder: Path) -> None:
    (folder / "result.json").unlink()
    os.mkfifo(folder / "result.json")


DAMAGES: dict[str, tuple[Damage, str]] = {
    "cut off": (in_result('{"test_acc'), "result.json is damaged"),
    "a list": (in_result("[1]"), "result.json is damaged"),
    "odd overrides": (in_result('{"overrides": 1, "parameters": 2}'), "result.json is damaged"),
    "deep": (in_result("[" * 100_000), "result.json is damaged"),
    "binary": (lambda folder: (folder / "result.json").write_bytes(b"\xff"), "cannot be read"),
    "a pipe": (pipe, "result.json is no file"),
    "of another program": (in_result('{"a": 1}'), "result.json is not of a training"),
    "failed": (in_result('{"error": "a\\u001b[31m\\nb"}'), r"failed: a\x1b[31m\nb"),
    "record": (in_record("config.yaml", "a: [\n"), "config.yaml is damaged"),
    "tag": (in_record("hydra.yaml", "!!python/object/apply:os.getcwd []"), "hydra.yaml is damaged"),
    "aliases": (in_record("config.yaml", aliases()), "config.yaml is too large"),
    "large": (in_record("config.yaml", "a" * 2**17), "config.yaml is too large"),
    "epochs": (lambda folder: (folder / "metrics.csv").write_text("epoch\nx\n"), "metrics.csv is"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_run_is_a_line_and_costs_the_others_nothing(kind: str, tmp_path: Path) -> None:
    folders.run(tmp_path / "sound")
    damage, reason = DAMAGES[kind]
    damage(folders.run(tmp_path / "odd"))
    found = compare([tmp_path])
    assert [len(one.runs) for one in found.groups] == [1]
    (line,) = map(str, found.left_out)
    assert line.startswith(f"left out: {tmp_path / 'odd'}: ")
    assert reason in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("rows", "progress"),
    [([], ""), ([{"train_loss": 1}, {"test_loss": 2}], ", 1 epoch done")],
)
def test_a_run_without_a_result_is_unfinished(
    rows: list[dict[str, float]], progress: str, tmp_path: Path
) -> None:
    folder = folders.record(tmp_path / "half")
    if rows:
        folders.epochs(folder, *rows)
    assert [one.reason for one in compare([tmp_path]).left_out] == [f"unfinished{progress}"]


def test_names_of_others_are_shown_without_control_characters(tmp_path: Path) -> None:
    folders.run(tmp_path / "sound", "k\x1b=v\n", "epochs=2", machine="\x07")
    folders.record(tmp_path / "a\x1b[31m")
    found = compare([tmp_path])
    told = [*map(str, found.left_out), *found.tables[0].above, found.groups[0].machines[0]]
    assert told == [
        rf"left out: {tmp_path}/a\x1b[31m: unfinished",
        r"in all runs: k\x1b=v epochs=2",
        r"\x07",
    ]


def test_figures_that_are_no_numbers_do_not_count(tmp_path: Path) -> None:
    folders.run(tmp_path / "a", test_accuracy="0.5", val_accuracy=True, test_loss=10**400)
    (one,) = compare([tmp_path]).groups
    assert {"test_accuracy", "val_accuracy", "test_loss"}.isdisjoint(one.runs[0].figures)


def test_runs_are_found_by_folder_parent_pattern_and_file_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sweep/0", "sweep/9", "sweep/10", "lone[1]"):
        folders.run(Path(name))
    folders.evaluation(Path("sweep/9/study"), {})
    (tmp_path / "sweep" / "train.log").touch()
    (tmp_path / "link").symlink_to(tmp_path / "lone[1]")
    everything = ["sweep/0", "sweep/9", "sweep/9/study", "sweep/10"]
    for names, expected in (
        (["sweep"], everything),
        ([Path("sweep"), "sweep/*", "sweep/10"], everything),
        (["sweep/?"], everything[:3]),
        (["sweep/10/result.json"], ["sweep/10"]),
        (["lone[1]", "link"], ["lone[1]"]),
        (["sweep/train.log", "link"], ["link"]),
    ):
        found, empty = find(names)
        assert (list(map(str, found)), empty) == (expected, [])


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    folders.run(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    found, empty = find([tmp_path / "empty", tmp_path / "a"])
    assert found == [tmp_path / "a"]
    assert list(map(str, empty)) == [f"left out: {tmp_path / 'empty'}: no run is there"]


@pytest.mark.parametrize("name", ["empty", "missing", "miss*", "a\x1bb"])
def test_no_run_at_all_is_an_error_of_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as refusal:
        find([tmp_path / name])
    assert str(refusal.value).startswith("no run found at '")
    assert "a folder with result.json, invariance.json or .hydra" in str(refusal.value)
    assert str(refusal.value).isprintable()
