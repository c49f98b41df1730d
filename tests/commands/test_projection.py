"""A trained network in fewer nodes or another basis, as an axis of a study."""

import json
from pathlib import Path

import pytest
from PIL import Image

import contnet
from tests.commands.projected import LAST, TRAINED, network_of
from tests.conftest import Run
from tests.outcomes import load, rows


@pytest.mark.long
def test_projections_are_an_axis_of_the_study(run: Run) -> None:
    assert run("train", *TRAINED)[0] == 0
    asked = (
        "project.n_basis=[4,2]",
        "project.basis=[piecewise_constant,legendre]",
        "sweep.n_time_steps=[4,2]",
    )
    more = ("sweep.recalibrate=true", 'sweep.budget="parameters<=0.7x"', "hydra.run.dir=study")
    code, out, err = run("evaluate", f"ckpt_path={LAST}", *asked, *more)
    assert (code, err) == (0, "")
    table = rows("study/invariance.csv")
    bases = [("piecewise_constant", 4), ("piecewise_constant", 2), ("legendre", 4), ("legendre", 2)]
    wanted = [(name, str(n), steps) for name, n in bases for steps in ("4", "2")]
    assert [(r["basis"], r["n_basis"], r["n_time_steps"]) for r in table] == 2 * wanted
    assert [r["trained"] for r in table] == ["True"] + 15 * ["False"]
    assert [r["accuracy"] for r in table[:1]] == [
        str(json.loads(Path("run/result.json").read_text())["test_accuracy"])
    ]

    network = network_of(load(LAST))
    counted = {
        (name, n): sum(p.numel() for p in contnet.project(network, n, name).parameters())
        for name, n in bases
    }
    assert [int(r["parameters"]) for r in table] == [
        counted[r["basis"], int(r["n_basis"])] for r in table
    ]
    # No step is finer than those of training, and what has been projected is no manifestation of
    # the network.
    assert "no verdict: nothing at least as fine" in out
    assert out.count("piecewise_constant 2") == out.count("legendre 4") == 2
    assert "for parameters<=0.7x use " in out
    assert "0.59x parameters" in out
    assert "project.n_basis=[2]" in out
    with Image.open("study/projection.png") as picture:
        assert picture.size[0] > 1000
    assert 'alt="projection"' in Path("study/report.html").read_text()


@pytest.mark.long
def test_what_is_asked_for_twice_or_is_there_already_is_studied_once(run: Run) -> None:
    assert run("train", *TRAINED)[0] == 0
    asked = ("project.n_basis=[4,1,1]", "sweep.convergence=false", "hydra.run.dir=study")
    assert run("evaluate", f"ckpt_path={LAST}", *asked)[0] == 0
    assert [(r["basis"], r["n_basis"]) for r in rows("study/invariance.csv")] == [
        ("piecewise_constant", "4"),
        ("piecewise_constant", "1"),
    ]
    assert (
        run(
            "train",
            "model=resnet",
            "model.depth=8",
            "model.alpha=2",
            "epochs=1",
            "hydra.run.dir=resnet",
        )[0]
        == 0
    )
    code, out, _ = run(
        "evaluate",
        "ckpt_path=resnet",
        "project.n_basis=1",
        "project.save=true",
        "hydra.run.dir=other",
    )
    assert (code, "nothing to save of resnet" in out) == (0, True)
    assert len(rows("other/invariance.csv")) == 1
