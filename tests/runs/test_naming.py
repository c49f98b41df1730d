from pathlib import Path

import pytest

from contnet.runs.naming import run_names

LAST = "checkpoints/last.ckpt"


@pytest.mark.parametrize(
    ("checkpoints", "names"),
    [
        ([f"outputs/train/2026-11-27/01-02-03/{LAST}"], ["01-02-03"]),
        ([f"/a/x/1/{LAST}", f"/a/x/2/{LAST}"], ["1", "2"]),
        ([f"a/b/{LAST}", f"c/b/{LAST}"], ["a/b", "c/b"]),
        ([f"a/{LAST}", "a/checkpoints/best.ckpt"], ["a", "a (best)"]),
        ([f"a/{LAST}", f"a/{LAST}"], ["a", "a"]),
        ([f"a/{LAST}", f"a/b/{LAST}"], ["a", "a/b"]),
        (["half.ckpt"], ["half.ckpt"]),
        (["x/half.ckpt", "x/all.ckpt"], ["half.ckpt", "all.ckpt"]),
        ([], []),
    ],
)
def test_runs_are_named_by_what_tells_them_apart(checkpoints: list[str], names: list[str]) -> None:
    assert run_names(checkpoints) == names


def test_a_checkpoint_of_the_working_folder_is_named_by_that_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_names([LAST]) == [tmp_path.name]
