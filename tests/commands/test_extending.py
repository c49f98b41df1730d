"""Every file of docs/extending.md is short, and the commands beside it do what the page says."""

import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from contnet.ode.bases import BASES
from contnet.runs.checkpoint import Record
from tests.conftest import Run
from tests.outcomes import LAST, load, result, rows
from tests.processes import Command

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
FILE = re.compile(
    r"(?:Save this as|Save this as\n)\s*`(\w+\.py)`.*?\n\n```python\n(.*?)```", re.DOTALL
)
COMMANDS = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)

SHORT = ("epochs=2", "trainer.limit_train_batches=2")

Section = Callable[[str], list[tuple[int, str, str]]]


@pytest.fixture
def section(run: Run, tmp_path: Path) -> Section:
    """Return `section(title)`: it saves the section's file, and runs its commands."""

    def call(title: str) -> list[tuple[int, str, str]]:
        text = SECTIONS[title]
        for name, code in FILE.findall(text):
            (tmp_path / name).write_text(code)
        lines = "".join(COMMANDS.findall(text)).replace("\\\n", " ").splitlines()
        return [_execute(run, shlex.split(line)) for line in lines]

    return call


def _execute(run: Run, words: list[str]) -> tuple[int, str, str]:
    command, *overrides = words
    if command == "contnet-evaluate":
        return run("evaluate", *overrides)
    assert command == "contnet-train"
    small = () if "model=own" in overrides else ("model.alpha=2",)
    return run("train", *SHORT, *small, *overrides)


def test_every_file_of_the_page_has_at_most_25_lines() -> None:
    files = {name: code for text in SECTIONS.values() for name, code in FILE.findall(text)}
    assert len(files) == 9
    assert {name for name, code in files.items() if len(code.splitlines()) > 25} == set()


@pytest.mark.long
@pytest.mark.long
def test_a_rate_of_the_page_is_refined_and_swept(section: Section) -> None:
    (code, out, err), (studied, _, study_err) = section("A rate")
    assert (code, err, studied, study_err) == (0, "", 0, "")
    assert "refined 1-1-1 -> 2-2-2" in out
    state = load(Path("rate", LAST))["state_dict"]
    assert state["network.blocks.0.nodes.1.layers.2.weight"].shape == (6, 2, 1, 1)
    table = rows("rate_study/invariance.csv")
    assert [row["scheme"] for row in table] == ["euler", "rk4"]
    assert float(table[0]["accuracy"]) == result("rate")["test_accuracy"]


def test_a_network_of_the_page_is_projected(section: Section) -> None:
    (code, _, err), (studied, _, study_err) = section("A network")
    assert (code, err, studied, study_err) == (0, "", 0, "")
    assert result("net")["scheme"] == "midpoint"
    assert [row["n_basis"] for row in rows("net_study/invariance.csv")] == ["2", "1"]


def test_images_of_the_page_are_normalised_and_split(section: Section) -> None:
    ((code, _, err),) = section("Images")
    assert (code, err) == (0, "")
    assert Record.of(load(Path("images", LAST))).classes == ("across", "down", "diagonal")
    assert result("images")["val_accuracy"] >= 0


@pytest.mark.long
def test_data_sets_of_the_page_are_trained_on_and_evaluated(section: Section) -> None:
    (code, _, err), (studied, _, study_err) = section("Data sets of PyTorch")
    assert (code, err, studied, study_err) == (0, "", 0, "")
    (row,) = rows("data_study/invariance.csv")
    assert float(row["accuracy"]) == result("data")["test_accuracy"]
    assert float(row["loss"]) == result("data")["test_loss"]


def test_the_callback_and_the_logger_of_the_page_work(section: Section) -> None:
    ((code, out, err),) = section("A callback, a logger")
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if "DONE!" in line] == [
        "epoch 0: DONE!",
        "epoch 1: DONE!",
    ]
    assert len(rows("callback/table/metrics.csv")) >= 2


def test_the_optimizer_and_the_schedule_of_the_page_work(section: Section) -> None:
    (code, _, err), (second, _, second_err) = section("An optimizer, a schedule")
    assert (code, err, second, second_err) == (0, "", 0, "")
    (group,) = load(Path("optimizer", LAST))["optimizer_states"][0]["param_groups"]
    assert group["lr"] == pytest.approx(0.001 * 0.1)
    (group,) = load(Path("rmsprop", LAST))["optimizer_states"][0]["param_groups"]
    assert group["alpha"] == 0.99


@pytest.mark.parametrize(
    ("title", "printed"),
    [("A scheme", "by RK4 torch.Size([5, 3])"), ("A basis", "torch.Size([5, 3])")],
)
def test_a_scheme_and_a_basis_of_the_page_work_in_python(
    title: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ((name, code),) = FILE.findall(SECTIONS[title])
    monkeypatch.setitem(BASES, "powers", None)  # so that it is taken away afterwards
    (tmp_path / name).write_text(code)
    runpy.run_path(str(tmp_path / name))
    assert printed in capsys.readouterr().out


def test_the_notebook_of_the_page_trains(tmp_path: Path) -> None:
    ((name, code),) = FILE.findall(SECTIONS["A notebook"])
    (tmp_path / name).write_text(code)
    done = Command("tests.drivers.script", name, folder=tmp_path).wait()
    assert done.returncode == 0, done
    assert torch.load(tmp_path / "outputs" / "notebook" / LAST, weights_only=True)["epoch"] == 0


SSPRK3 = """
defaults: [/fixed_steps@_here_, _self_]
name: ssprk3
"""


@pytest.mark.long
def test_a_network_trains_with_a_new_scheme_and_basis_and_is_evaluated_in_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "own" / "scheme").mkdir(parents=True)
    (tmp_path / "own" / "scheme" / "ssprk3.yaml").write_text(SSPRK3)

    def extended(*arguments: str) -> str:
        done = Command("tests.drivers.extended", *arguments, folder=tmp_path).wait()
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    model = ("model.basis=powers", "model.initial_time_d=2", "model.alpha=2", "scheme=ssprk3")
    training = (*model, "epochs=2", "refine.epochs=[1]", "optimizer.lr=0.02", "hydra.run.dir=run")
    assert "refined 2-2-2 -> 4-4-4" in extended("train", "--config-dir=own", *training)
    sweep = ("sweep.scheme=[ssprk3,euler]", "sweep.n_time_steps=[4,8]", "project.basis=[powers]")
    out = extended(
        "evaluate", "ckpt_path=run", *sweep, "project.n_basis=[4,3]", "hydra.run.dir=study"
    )
    assert "ssprk3" in out
    table = rows(tmp_path / "study" / "invariance.csv")
    manifestations = [(scheme, n) for scheme in ("ssprk3", "euler") for n in ("4", "8")]
    assert [(r["basis"], r["n_basis"], r["scheme"], r["n_time_steps"]) for r in table] == [
        ("powers", n_basis, *manifestation)
        for n_basis in ("4", "3")
        for manifestation in manifestations
    ]
    (trained,) = (row for row in table if row["trained"] == "True")
    assert float(trained["accuracy"]) == result(tmp_path / "run")["test_accuracy"]
    assert float(trained["loss"]) == result(tmp_path / "run")["test_loss"]
