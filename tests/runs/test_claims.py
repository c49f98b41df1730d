"""A folder belongs to the command that came first; another gets its own, or none."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contnet.runs.claim import LOCK, claim
from tests.conftest import Run
from tests.outcomes import LAST, result
from tests.processes import Command, environment

TINY = ("epochs=1", "model.alpha=1", "dataset.batch_size=512", "trainer.limit_train_batches=1")
IN_ONE_SECOND = "${now:%Y}"
"""A time that passes as slowly as a second does for two commands of one script."""


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[int]:
    """Hold a folder as a running command does; yield the number of the process that holds it."""
    code = (
        "import pathlib, sys; from contnet.runs.claim import claim; "
        "held = claim(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid


@pytest.mark.long
def test_commands_of_one_second_have_a_folder_each_and_an_explicit_one_has_one_command(
    tmp_path: Path,
) -> None:
    places = (
        f"hydra.run.dir=outputs/train/{IN_ONE_SECOND}",
        "hydra.run.dir=chosen",
        f"hydra.sweep.dir=outputs/multirun/{IN_ONE_SECOND}",
        "hydra.sweep.dir=swept",
    )
    started = [
        [
            Command("train", *("-m",) * ("sweep" in place), *TINY, place, folder=tmp_path)
            for _ in range(2)
        ]
        for place in places
    ]
    ended = [[command.wait() for command in pair] for pair in started]
    codes = [sorted(one.returncode for one in pair) for pair in ended]
    assert codes == [[0, 0], [0, 1], [0, 0], [0, 1]], ended
    for kind, inside in (("train", ""), ("multirun", "0")):
        folders = sorted((tmp_path / "outputs" / kind).iterdir())
        first, second = (folder.name for folder in folders)
        assert second == f"{first}-1"
        for folder in folders:
            assert result(folder / inside)["epochs"] == 1
            assert (folder / inside / LAST).exists()
    for pair, key in ((ended[1], "hydra.run.dir"), (ended[3], "hydra.sweep.dir")):
        (refused,) = (one.stderr for one in pair if one.returncode)
        assert re.fullmatch(f"error: {key} must be another folder than .*\n", refused), refused
    assert result(tmp_path / "chosen")["epochs"] == 1
    assert result(tmp_path / "swept" / "0")["epochs"] == 1


@pytest.mark.parametrize(
    ("options", "entry"),
    [(TINY, "train"), (("-m", *TINY), "train"), (("ckpt_path=x.ckpt",), "evaluate")],
    ids=["run", "sweep", "evaluation"],
)
def test_a_folder_that_a_running_command_holds_is_refused_and_stays_as_it_is(
    run: Run, tmp_path: Path, options: tuple[str, ...], entry: str
) -> None:
    key = "hydra.sweep.dir" if "-m" in options else "hydra.run.dir"
    (tmp_path / "held").mkdir()
    with held_by_another_process(tmp_path / "held") as holder:
        before = sorted(tmp_path.rglob("*"))
        code, _, err = run(entry, *options, f"{key}=held")
        assert (code, err.count("\n")) == (1, 1)
        assert err.startswith(
            f"error: {key} must be another folder than 'held', where process {holder} on "
        )
        assert sorted(tmp_path.rglob("*")) == before


def test_a_run_is_not_resumed_while_it_runs_and_is_when_its_process_has_ended(
    run: Run, trained: Path
) -> None:
    resume = ("train", "ckpt_path=last", "hydra.run.dir=run", "epochs=2")
    with held_by_another_process(trained):
        code, _, err = run(*resume)
        assert (code, "is running" in err) == (1, True)
    assert run(*resume)[0] == 0
    assert result(trained)["epochs"] == 2
    assert [path.name for path in trained.iterdir() if "lock" in path.name] == []


def test_a_job_of_a_sweep_that_another_process_still_runs_is_left_out(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    with held_by_another_process(tmp_path / "sweep" / "0"):
        code, _, err = run("train", "-m", *TINY, "hydra.sweep.dir=sweep")
    assert code == 1
    assert "job 0 " in err
    assert "is left out: " in err
    assert not (tmp_path / "sweep" / "0" / "result.json").exists()
    assert run("train", "-m", *TINY, "hydra.sweep.dir=sweep")[0] == 0
    assert result(tmp_path / "sweep" / "0")["epochs"] == 1


def test_a_finished_run_without_a_checkpoint_is_not_written_over(run: Run, tmp_path: Path) -> None:
    assert run("train", *TINY, "~callbacks", "hydra.run.dir=run")[0] == 0
    before = (tmp_path / "run" / "result.json").read_bytes()
    code, _, err = run("train", *TINY, "seed=1", "hydra.run.dir=run")
    assert (code, err.count("\n")) == (1, 1)
    assert "hydra.run.dir must be another folder than 'run', which holds a run" in err
    assert (tmp_path / "run" / "result.json").read_bytes() == before


def test_what_is_refused_leaves_no_folder_and_the_name_stays_free(run: Run, tmp_path: Path) -> None:
    place = f"hydra.run.dir=outputs/train/{IN_ONE_SECOND}"
    for _ in range(2):
        assert run("train", *TINY, "model.alpha=0", place)[0] == 1
        assert list(tmp_path.iterdir()) == []
    assert run("train", *TINY, place)[0] == 0
    (folder,) = (tmp_path / "outputs" / "train").iterdir()
    assert run("train", *TINY, place)[0] == 0
    assert (folder.parent / f"{folder.name}-1" / "result.json").exists()


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run").mkdir()
    for target in ("precious", "new"):
        (tmp_path / "run" / LOCK).symlink_to(tmp_path / target)
        with pytest.raises(OSError, match="symbolic links"):
            claim(tmp_path / "run")
        (tmp_path / "run" / LOCK).unlink()
    assert (tmp_path / "precious").read_text() == "kept"
    assert not (tmp_path / "new").exists()
