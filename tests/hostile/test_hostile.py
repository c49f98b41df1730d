"""Files and folders of a stranger: nothing in them is executed, written, sent or waited for.

`python -m tests.hostile` runs both commands on all of them, and takes some minutes. Here, what
refuses files is run on all of them, and whole commands on the worst of them, on a sixth of those
that it passes, and on a sixth of the folders.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import folders, programs, records, scene
from tests.hostile.crafting import CANARY, Good
from tests.hostile.expected import ENDING_WELL, FILES, LATE, NOT_TRAINED, READ_ONCE, may_end_well
from tests.processes import Command

WORST = (
    *("calls_a_shell", "calls_a_shell_for_a_weight", "calls_with_inst", "calls_memory"),
    *("hashes_a_tuple_that_doubles", "is_nested_100000_deep", "inflates_to_64_mb"),
    *("has_two_directories", "is_a_tensor_of_10_to_12_in_4_bytes", "has_10_to_12_steps"),
    *("its_model_checkpoint_removes_the_canary", "has_a_legendre_basis_of_thousands"),
    *("looks_up_the_environment", "looks_up_hydra", "has_text_that_is_no_utf_8", "is_empty"),
    "every_part_that_is_not_built_names_a_shell",
)
"""Files that both whole commands are run on."""

PASSED = (
    *LATE,
    *(name for name in records.FILES if not name.startswith(("looks_up", "its_model"))),
    *(name for name in NOT_TRAINED if name.startswith("has_") and name not in ENDING_WELL),
)
"""Files that may be loaded: what is wrong with them shows when something is built."""


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Good]:
    with scene.good_run(tmp_path_factory.mktemp("good")) as (made, asked):
        yield made
        assert asked == [], "a command sent requests"


def test_files_are_refused_in_one_line_within_two_seconds(good: Good, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / CANARY).write_text(scene.SONG)
    for name, craft in FILES.items():
        (tmp_path / "files" / name).write_bytes(craft(good))
    done = Command("tests.hostile.loading", "files", folder=tmp_path).wait()
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, _, _ in outcomes] == sorted(FILES), done.stderr
    assert [name for name, _, seconds in outcomes if seconds > 2] == []
    messages = {name: message for name, message, _ in outcomes if message is not None}
    for name, message in messages.items():
        assert message.startswith("ckpt_path must be a checkpoint that contnet wrote; "), name
        assert message.isprintable(), name
        assert len(message) < scene.LONGEST_LINE, name
    executing = {*programs.FILES} - READ_ONCE
    assert executing - messages.keys() == set()
    assert {path.name for path in tmp_path.iterdir()} == {"files", CANARY}
    assert (tmp_path / CANARY).read_text() == scene.SONG


@pytest.mark.parametrize("name", sorted({*sorted(PASSED)[::6], *WORST}))
def test_a_file_is_evaluated_without_harm(name: str, good: Good, tmp_path: Path) -> None:
    content = FILES[name](good)
    faults = scene.faults_with_file(content, tmp_path, scene.EVALUATE_FILE, name in LATE)
    assert faults == "" or (faults == "ended" and may_end_well("evaluate", name))


@pytest.mark.parametrize("name", WORST)
def test_a_file_is_resumed_without_harm(name: str, good: Good, tmp_path: Path) -> None:
    content = FILES[name](good)
    faults = scene.faults_with_file(content, tmp_path, scene.TRAIN_FILE, name in LATE)
    assert faults == "" or (faults == "ended" and may_end_well("train", name))


@pytest.mark.parametrize("name", sorted(folders.ALL)[::6])
def test_a_folder_is_resumed_without_harm(name: str, good: Good, tmp_path: Path) -> None:
    faults = scene.faults_with_folder(good, folders.ALL[name], tmp_path, scene.TRAIN_FOLDER)
    assert faults == "" or (faults == "ended" and may_end_well("train", name))


@pytest.mark.parametrize("name", sorted(folders.FILES)[::4])
def test_a_folder_is_evaluated_without_harm(name: str, good: Good, tmp_path: Path) -> None:
    faults = scene.faults_with_folder(good, folders.ALL[name], tmp_path, scene.EVALUATE_FOLDER)
    assert faults == "" or (faults == "ended" and may_end_well("evaluate", name))


def test_a_projection_takes_over_no_file_that_a_record_links_to(good: Good, tmp_path: Path) -> None:
    run = shutil.copytree(good.folder, tmp_path / "run")
    (tmp_path / CANARY).write_text(scene.SONG)
    (run / ".hydra/more").mkdir()
    (run / ".hydra/more/link").symlink_to(tmp_path / CANARY)
    save = ("project.basis=piecewise_linear", "project.n_basis=2", "project.save=true")
    command = ("evaluate", "ckpt_path=run", "hydra.run.dir=o", "sweep.convergence=false", *save)
    assert Command("tests.hostile.command", *command, folder=tmp_path).wait().returncode == 0
    saved = [path for path in (tmp_path / "o/piecewise_linear-2").rglob("*") if path.is_file()]
    assert saved
    assert [path for path in saved if path.read_bytes() == scene.SONG.encode()] == []
