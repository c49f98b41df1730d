"""The study of when to refine: its runs, and its table."""

import sys
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growth_runs import Training


def parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> list[Training]:
    monkeypatch.setattr(sys, "argv", ["growth", "--output", str(tmp_path), *arguments])
    return growth.trainings(growth.parse())


def test_a_plan_starts_from_the_last_checkpoint_that_it_shares_with_the_shallow_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    grid = ["--at", "0.05", "0.5", "0.75", "0.8", "--decay", "0.2", "0.4"]
    found = parsed(monkeypatch, tmp_path, "--epochs", "10", *grid)
    assert [one.side for one in found[:2]] == ["1 node throughout", "8 nodes throughout"]
    starts = {one.side: one.start for one in found if "grow" in one.side}
    branches = tmp_path / "decay-0.2" / "1-throughout-10" / "0" / "checkpoints"
    assert starts == {
        "at 0.05, to 8, grow, decay 0.2 linear": None,
        "at 0.05, to 8, grow, decay 0.4 linear": None,
        "at 0.5, to 8, grow, decay 0.2 linear": branches / "4.ckpt",
        "at 0.5, to 8, grow, decay 0.4 linear": branches / "4.ckpt",
        "at 0.75, to 8, grow, decay 0.2 linear": branches / "6.ckpt",
        "at 0.75, to 8, grow, decay 0.4 linear": branches / "5.ckpt",
        "at 0.8, to 8, grow, decay 0.2 linear": branches / "7.ckpt",
        "at 0.8, to 8, grow, decay 0.4 linear": branches / "5.ckpt",
    }


def test_no_two_runs_share_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments = "--seeds 0 1 --shape linear sqrt --short 4 --to 4 8 --throughout 2 8"
    also = "--also refine.variance=0.1"
    found = parsed(monkeypatch, tmp_path, *arguments.split(), *also.split())
    assert len({one.folder for one in found}) == len(found) == 2 * (4 + 48)


def test_a_row_holds_mean_and_deviation_over_seeds_and_the_time_by_arithmetic() -> None:
    def run(side: str, seed: int, accuracy: float, *phases: tuple[float, int]) -> tuple:
        made = Training(side, seed, Path(), [], phases)
        return made, {"val_accuracy": accuracy, "test_accuracy": accuracy - 0.1}

    rows = growth.table(
        [
            run("1 node throughout", 0, 0.5, (1, 1)),
            run("8 nodes throughout", 0, 0.7, (1, 8)),
            run("8 nodes throughout", 1, 0.8, (1, 8)),
            run("8 nodes throughout", 0, 0.6, (0.5, 8)),
            run("at 0.8, to 8, grow", 0, 0.65, (0.8, 1), (0.2, 8)),
        ],
        {1: 0.25, 8: 1.0},
        test=True,
    )
    assert [(row["side"], round(row["relative_time"], 9)) for row in rows] == [
        ("1 node throughout", 0.25),
        ("at 0.8, to 8, grow", 0.4),
        ("8 nodes throughout", 0.5),
        ("8 nodes throughout", 1),
    ]
    assert (rows[3]["val_accuracy"], rows[3]["n_seeds"]) == (pytest.approx(0.75), 2)
    assert rows[3]["test_accuracy_std"] == pytest.approx(0.05 * 2**0.5)
    assert rows[2]["val_accuracy_std"] is None


@pytest.mark.long
def test_the_study_trains_the_shallow_part_once_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = "dataset=digits model.alpha=2 logger=csv trainer.accelerator=cpu"
    options = [word for key in small.split() for word in ("--set", key)]
    grid = ["--at", "0.5", "--epsilon", "grow", "--epochs", "4", "--to", "2", "--rounds", "2"]
    files = ["--json", f"{tmp_path}/out.json", "--output", f"{tmp_path}/study"]
    options += [*grid, *files, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["growth", *options])
    growth.main()
    first = capfd.readouterr().out
    assert "at 0.5, to 2, grow, decay 0.2 linear, seed 0" in first
    assert (tmp_path / "study/growth.png").read_bytes().startswith(b"\x89PNG")
    grown = (tmp_path / "study/at-0.5_to-2_grow_decay-0.2-linear/0/metrics.csv").read_text()
    # The second epoch, from 0, is the last of the shallow run; the third is the first of its own.
    assert grown.splitlines()[1].startswith("1,")
    growth.main()
    assert "seed 0" not in capfd.readouterr().out
    monkeypatch.setattr(sys, "argv", ["growth", *options, "--set", "optimizer.lr=0.01"])
    with pytest.raises(SystemExit, match="error: --output must be another folder"):
        growth.main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--at 1.5", "--at must be shares between 0 and 1, got [1.5]"),
        ("--decay 0", "--decay must be shares between 0 and 1, got [0.0]"),
        ("--short 30", "--short must be fewer epochs than 30, got [30]"),
        ("--epsilon shrink", "invalid choice: 'shrink'"),
    ],
)
def test_a_grid_that_cannot_be_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    with pytest.raises(SystemExit):
        parsed(monkeypatch, tmp_path, *arguments.split())
    assert message in capsys.readouterr().err
