"""A damaged checkpoint costs a run an epoch, and not all of them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contnet.errors import ConfigError
from contnet.runs.atomic import replace_and_keep
from contnet.runs.folder import check_own_files
from contnet.runs.newest import newest_checkpoint
from tests.conftest import Run
from tests.outcomes import LAST, assert_same_end, load
from tests.runs.small import SMALL

PREVIOUS = LAST.with_name("previous.ckpt")
BEST = LAST.with_name("best.ckpt")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1000] ^= 1  # in the stream, which is the first part; between parts nothing counts
    path.write_bytes(content)


def overwrite_with_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = (cut_off, empty, flip_a_bit, overwrite_with_zeros, Path.unlink)


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.processes import train

    folder = tmp_path_factory.mktemp("through")
    assert train(*SMALL, "epochs=3", "hydra.run.dir=run", folder=folder).returncode == 0
    return folder / "run"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_the_one_before_to_the_same_end(
    run: Run, tmp_path: Path, through: Path, damage: Callable[[Path], None]
) -> None:
    folder = shutil.copytree(through, tmp_path / "run")
    assert [load(folder / name)["epoch"] for name in (PREVIOUS, LAST)] == [1, 2]
    damage(folder / LAST)
    code, out, err = run("train", "ckpt_path=last", "hydra.run.dir=run")
    assert code == 0, err
    assert err == (
        "run/checkpoints/last.ckpt is damaged or missing; the run is resumed from "
        "run/checkpoints/previous.ckpt, which was saved before it\n"
    )
    assert out.count("epoch 3/3") == 1
    assert_same_end(through, folder)
    # The good one was not pushed out by the damaged one.
    assert load(folder / PREVIOUS)["epoch"] == 1


def test_the_newest_run_is_found_by_its_previous_checkpoint_too(
    run: Run, tmp_path: Path, through: Path
) -> None:
    folder = shutil.copytree(through, tmp_path / "outputs/train/today/now")
    (folder / LAST).unlink()
    assert run("train", "ckpt_path=last")[0] == 0
    assert_same_end(through, folder)


def test_where_both_are_damaged_the_best_one_is_named_if_it_can_be_loaded(
    run: Run, tmp_path: Path, through: Path
) -> None:
    folder = shutil.copytree(through, tmp_path / "run")
    cut_off(folder / LAST)
    empty(folder / PREVIOUS)
    resume = ("train", "ckpt_path=last", "hydra.run.dir=run")
    code, _, err = run(*resume)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: ckpt_path=last: run/checkpoints/last.ckpt is damaged (")
    assert "run/checkpoints/previous.ckpt is damaged (" in err
    assert err.endswith(
        "; run/checkpoints/best.ckpt can be loaded: give it as "
        "ckpt_path=run/checkpoints/best.ckpt, with another hydra.run.dir and the overrides of the "
        "run\n"
    )
    told = ("ckpt_path=run/checkpoints/best.ckpt", "hydra.run.dir=other", *SMALL, "epochs=4")
    assert run("train", *told)[0] == 0
    for path in (LAST, PREVIOUS):
        (folder / path).unlink()
    with pytest.raises(ConfigError, match=r"no checkpoints/last.ckpt in run; run/.*best.ckpt can"):
        newest_checkpoint(Path("run"))
    cut_off(shutil.copy(folder / BEST, folder / LAST))
    flip_a_bit(folder / BEST)
    assert run(*resume)[2].endswith("; no other checkpoint of the run can be loaded\n")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_no_checkpoint_and_is_not_waited_for(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / LAST.parent).mkdir()
    make(tmp_path / LAST)
    with pytest.raises(ConfigError, match=r"last.ckpt is damaged \(not a file\); no other"):
        newest_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "name", [LAST, PREVIOUS, BEST, "result.json", "metrics.csv", "train.log", ".hydra/config.yaml"]
)
def test_a_folder_in_the_place_of_a_file_of_a_run_is_refused_before_the_run_is_resumed(
    name: Path | str, tmp_path: Path
) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / LAST.parent).mkdir()
    check_own_files(tmp_path)
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=rf"folder of files; '.*{name}' is a folder"):
        check_own_files(tmp_path)


def test_an_evaluation_of_a_folder_takes_a_run_once(
    run: Run, tmp_path: Path, through: Path
) -> None:
    shutil.copytree(through, tmp_path / "run")
    code, out, _ = run("evaluate", "ckpt_path=run", "sweep.convergence=false")
    assert code == 0
    assert "previous.ckpt" not in out


@pytest.mark.parametrize("has_links", [True, False], ids=["with links", "without"])
def test_a_whole_file_is_there_before_and_after_each_step_and_no_byte_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    path, new, previous = (tmp_path / name for name in ("last", "new", "previous"))
    seen = []
    rename = Path.replace

    def watched(self: Path, target: Path) -> None:
        for _ in range(2):
            whole = {p.name: p.read_text() for p in (path, previous) if p.exists()}
            seen.append(whole)
            if len(seen) % 2:
                rename(self, target)

    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "replace", watched)
    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    numbers = []
    for generation in "ABC":
        new.write_text(generation)
        numbers.append(new.stat().st_ino)
        replace_and_keep(path, new, previous)
    assert (path.read_text(), previous.read_text()) == ("C", "B")
    assert [previous.stat().st_ino, path.stat().st_ino] == numbers[1:]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "previous"]
    assert all(whole for whole in seen[1:])
    assert not has_links or all("last" in whole for whole in seen[1:])
    # After a crash between two steps, both names may be those of one file.
    previous.unlink()
    os.link(path, previous) if has_links else None
    new.write_text("D")
    replace_and_keep(path, new, previous)
    assert (path.read_text(), previous.read_text()) == ("D", "C")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "previous"]
