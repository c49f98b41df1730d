"""`contnet-compare`: its words, its messages and where its output goes."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contnet.commands import compare
from tests.comparison import folders
from tests.processes import ROOT

Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Compare:
    """Return `call(*words)` -> (exit code, stdout, stderr), in a folder with a sweep and a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    for job, scheme in enumerate(("euler", "rk4")):
        folders.run(Path("sweep", str(job)), "epochs=2", f"scheme={scheme}")
    Path("file.txt").write_text("mine")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["compare.py", *words])
        capfd.readouterr()
        code = 0
        try:
            compare.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return run


@pytest.mark.parametrize("words", [(), ("--help",), ("sweep", "-h")])
def test_the_command_explains_itself(words: tuple[str, ...], call: Compare) -> None:
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert "RUNS... [format=FORMAT] [output=FOLDER]" in out
    assert max(map(len, out.splitlines())) <= 80


NO_RUN = "a run is a folder with result.json, invariance.json or .hydra, or one around such folders"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], f"no run found at 'nowhere'; {NO_RUN}"),
        (["sweep", "swep/*"], f"no run found at 'swep/*'; {NO_RUN}"),
        (["file.txt"], f"no run found at 'file.txt'; {NO_RUN}"),
        (["sweep", "format=latx"], "format=latx is not an option; did you mean latex?"),
        (
            ["sweep", "format=pdf"],
            "format=pdf is not an option; choose from text, markdown, latex, csv",
        ),
        (["sweep", "ouput=o"], "ouput is not a key; did you mean output?"),
        (["sweep", "seed=1"], "seed is not a key; choose from format, output"),
        (["sweep", "-m"], "-m is not an option; --help shows what there is"),
        (["format=csv"], "no runs are named; --help shows how"),
        (["sweep", "output=file.txt"], "output must be a folder to write to, got 'file.txt'"),
        (
            ["sweep", "output=file.txt/a/b"],
            "output must be a folder to write to, got 'file.txt/a/b'",
        ),
        (["sweep", "output="], "output must be a folder to write to, got ''"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    words: list[str], message: str, call: Compare, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert call(*words) == (1, "", f"error: {message}\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_each_format_goes_to_standard_output_alone(call: Compare) -> None:
    folders.record(Path("sweep/2"))
    left_out = "left out: sweep/2: unfinished\n"
    code, out, err = call("sweep")
    assert (code, err) == (0, "")
    assert out.startswith("mean ± standard deviation over seeds\nin all runs: epochs=2\n┏")
    assert out.endswith(left_out)
    for form, first in (("markdown", "mean ±"), ("latex", "% mean ±"), ("csv", "epochs,scheme,")):
        code, out, err = call("sweep", f"format={form}")
        assert (code, err) == (0, left_out)
        assert out.startswith(first)
    assert [row["scheme"] for row in csv.DictReader(out.splitlines())] == ["euler", "rk4"]


def test_a_folder_may_have_the_name_of_an_override(call: Compare) -> None:
    folders.run(Path("seed=1,scheme=rk4"), "seed=1")
    assert call("seed=1,scheme=rk4")[0] == 0
    assert call("seed=*")[0] == 0


def test_runs_of_which_none_has_finished_are_an_error_after_their_lines(call: Compare) -> None:
    folders.record(Path("half"))
    assert call("half") == (
        1,
        "left out: half: unfinished\n",
        "error: there is nothing to compare: no run has finished\n",
    )


def test_the_files_are_named(call: Compare, tmp_path: Path) -> None:
    code, _, err = call("sweep", "output=new/folder")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("written to new/folder: comparison.csv, comparison.md, comparison.tex")
    assert (tmp_path / "new/folder/comparison.html").exists()


def test_it_imports_neither_hydra_nor_torch_and_survives_a_pipe_that_nobody_reads(
    call: Compare, tmp_path: Path
) -> None:
    code = (
        "import sys; from contnet.commands.compare import main; main();"
        "heavy = {'hydra', 'omegaconf', 'torch', 'pytorch_lightning', 'matplotlib'};"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "sweep"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == "set()\n"
    assert process.returncode == 0
