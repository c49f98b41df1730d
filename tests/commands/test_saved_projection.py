"""A projection that is saved is a run: it evaluates as it did, and trains on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import contnet
from contnet import ContinuousNet
from contnet.commands import projections
from contnet.invariance.plan import Plan
from contnet.invariance.store import Store
from contnet.invariance.study import study
from contnet.ode.depth_time import Depth
from contnet.runs.checkpoint import Record
from tests.commands.projected import LAST, TRAINED, network_of
from tests.conftest import Run
from tests.invariance.results import subject
from tests.outcomes import assert_same, load, rows


@pytest.mark.parametrize(("n_right", "is_warned"), [(2, True), (15, False)])
def test_a_projection_at_chance_is_saved_with_a_warning(
    n_right: int,
    is_warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    saved: list[str] = []
    monkeypatch.setattr(projections, "_save", lambda *arguments: saved.append(str(arguments[2])))
    plan = Plan(n_time_steps=[2], n_basis=[1], convergence=False)
    found = study(subject(ContinuousNet(alpha=2, initial_time_d=2)), plan, Store(tmp_path))
    (at,) = [i for i, result in enumerate(found.results) if result.projected]
    results = list(found.results)
    assert results[at].figures is not None
    results[at] = replace(results[at], figures=replace(results[at].figures, accuracy=n_right / 20))
    config = OmegaConf.create({"run_dir": str(tmp_path)})
    projections.save_projections(config, plan, [replace(found, results=results)])
    assert saved == ["piecewise_constant, 1 node"]
    told = "piecewise_constant, 1 node is at chance: its accuracy is 10.0 %, and chance explains"
    assert (told in caplog.text) == is_warned


@pytest.mark.long
@pytest.mark.parametrize(
    ("basis", "n"),
    [
        pytest.param("piecewise_constant", 2, marks=pytest.mark.long),
        ("continuous_linear", 3),
        pytest.param("legendre", 4, marks=pytest.mark.long),
    ],
)
def test_a_saved_projection_evaluates_as_it_did_and_trains_on(run: Run, basis: str, n: int) -> None:
    # Midpoint meets every node; Euler's method, which looks at no end, would never use the last
    # hat.
    assert run("train", *TRAINED, "optimizer.decay_norm_and_bias=false", "scheme=midpoint")[0] == 0
    asked = (
        f"project.n_basis={n}",
        f"project.basis={basis}",
        "project.save=true",
        "sweep.n_time_steps=2",
    )
    code, out, _ = run(
        "evaluate", f"ckpt_path={LAST}", *asked, "sweep.convergence=false", "hydra.run.dir=study"
    )
    assert code == 0
    folder = f"study/{basis}-{n}"
    assert f"python train.py ckpt_path=last hydra.run.dir={folder} epochs=4" in out
    (projected,) = [
        r for r in rows("study/invariance.csv") if r["basis"] == basis and r["n_time_steps"] == "2"
    ][-1:]

    saved, trained = load(f"{folder}/checkpoints/last.ckpt"), load(LAST)
    assert Record.of(saved).depth == 3 * (Depth(basis, n, n_time_steps=2, refined_by=4),)
    assert saved["epoch"] == trained["epoch"]
    state = contnet.project(network_of(trained), n, basis).state_dict()
    assert_same(dict(network_of(saved).state_dict()), dict(state), basis)

    code, _, err = run(
        "evaluate",
        f"ckpt_path={folder}",
        "sweep.n_time_steps=[1,2,4]",
        "sweep.convergence=false",
        "hydra.run.dir=sweep",
    )
    assert (code, err) == (0, "")
    (again,) = [r for r in rows("sweep/invariance.csv") if r["trained"] == "True"]
    assert [again[key] for key in ("n_time_steps", "accuracy", "loss", "parameters")] == [
        projected[key] for key in ("n_time_steps", "accuracy", "loss", "parameters")
    ]

    code, out, err = run("train", "ckpt_path=last", f"hydra.run.dir={folder}", "epochs=4")
    assert (code, err) == (0, "")
    tuned = load(f"{folder}/checkpoints/last.ckpt")
    assert (tuned["epoch"], Record.of(tuned).depth) == (3, Record.of(saved).depth)
    assert "refined" not in out
    momenta = [state["momentum_buffer"] for state in tuned["optimizer_states"][0]["state"].values()]
    assert len(momenta) == len(list(network_of(tuned).parameters()))
    before, after = (
        [v for k, v in c["state_dict"].items() if "nodes" in k] for c in (saved, tuned)
    )
    assert not any(
        torch.equal(a, b) for a, b in zip(before, after, strict=True) if a.is_floating_point()
    )

    code, out, _ = run(
        "evaluate", f"ckpt_path={LAST}", *asked, "sweep.convergence=false", "hydra.run.dir=study"
    )
    assert (code, f"{folder} holds a run, which is left as it is" in out) == (0, True)
    assert_same(
        load(f"{folder}/checkpoints/last.ckpt")["state_dict"], tuned["state_dict"], "state_dict"
    )


@pytest.mark.long
def test_a_projection_back_to_the_first_nodes_keeps_its_own_steps(run: Run) -> None:
    assert run("train", *TRAINED)[0] == 0
    asked = (
        "project.n_basis=1",
        "project.save=true",
        "sweep.convergence=false",
        "hydra.run.dir=study",
    )
    assert run("evaluate", f"ckpt_path={LAST}", *asked)[0] == 0
    folder = "study/piecewise_constant-1"
    assert (
        run("evaluate", f"ckpt_path={folder}", "sweep.convergence=false", "hydra.run.dir=again")[0]
        == 0
    )
    assert [r["n_time_steps"] for r in rows("again/invariance.csv")] == ["4"]
    assert run("train", "ckpt_path=last", f"hydra.run.dir={folder}", "epochs=4")[0] == 0
    tuned = Record.of(load(f"{folder}/checkpoints/last.ckpt"))
    assert [block.n_time_steps for block in tuned.depth] == [4, 4, 4]


@pytest.mark.long
def test_nodes_that_no_stage_looks_up_are_told_and_can_be_refined(run: Run) -> None:
    assert run("train", *TRAINED)[0] == 0
    # Three hats in two steps of Euler's method: at t = 0 and 1/2, where the last is zero.
    asked = (
        "project.n_basis=3",
        "project.basis=continuous_linear",
        "project.save=true",
        "sweep.n_time_steps=2",
    )
    assert (
        run(
            "evaluate",
            f"ckpt_path={LAST}",
            *asked,
            "sweep.convergence=false",
            "hydra.run.dir=study",
        )[0]
        == 0
    )
    go_on = ("ckpt_path=last", "hydra.run.dir=study/continuous_linear-3", "epochs=5")
    code, out, _ = run("train", *go_on, "refine.epochs=[1,2,4]")
    assert code == 0
    assert (
        "euler in 2 steps never looks up node 2 of the 3 with the basis "
        "continuous_linear: it will not learn" in out
    )
    assert "epoch 4: refined 3-3-3 -> 5-5-5" in out


@pytest.mark.long
def test_averaged_weights_are_projected_and_averaged_on(run: Run) -> None:
    options = (
        "callbacks=ema",
        "model.alpha=4",
        "model.initial_time_d=4",
        "epochs=2",
        "callbacks.ema.window=0.1",
    )
    assert run("train", *options, "hydra.run.dir=run")[0] == 0
    asked = (
        "project.basis=legendre",
        "project.n_basis=3",
        "project.save=true",
        "sweep.convergence=false",
    )
    assert run("evaluate", f"ckpt_path={LAST}", *asked, "hydra.run.dir=study")[0] == 0
    folder = "study/legendre-3"
    averaged = contnet.project(network_of(load(LAST)), 3, "legendre").state_dict()
    saved = load(f"{folder}/checkpoints/last.ckpt")
    assert_same(dict(network_of(saved).state_dict()), dict(averaged), "ema")
    code, _, err = run("train", "ckpt_path=last", f"hydra.run.dir={folder}", "epochs=3")
    assert (code, err) == (0, "")
    tuned = load(f"{folder}/checkpoints/last.ckpt")
    n_averaged = [c["averaging_state"]["n_averaged"] for c in (saved, tuned)]
    assert n_averaged[1] > n_averaged[0]
    assert not torch.equal(
        tuned["state_dict"]["network.head.linear.weight"], averaged["head.linear.weight"]
    )


@pytest.mark.long
def test_a_network_trained_with_the_adjoint_is_projected_and_says_how_to_train_on(
    run: Run,
) -> None:
    options = ("model.alpha=2", "model.initial_time_d=2", "scheme.gradient=adjoint", "epochs=1")
    assert run("train", *options, "hydra.run.dir=run")[0] == 0
    asked = (
        "project.basis=legendre",
        "project.save=true",
        "sweep.convergence=false",
        "hydra.run.dir=study",
    )
    code, out, _ = run("evaluate", f"ckpt_path={LAST}", *asked)
    assert code == 0
    again = ("ckpt_path=study/legendre-2", "sweep.convergence=false", "hydra.run.dir=again")
    assert run("evaluate", *again)[0] == 0
    go_on = ("ckpt_path=last", "hydra.run.dir=study/legendre-2", "epochs=2")
    assert f"python train.py {' '.join(go_on[:2])} scheme.gradient=backprop epochs=2" in out
    code, _, err = run("train", *go_on)
    assert (code, err.count("\n")) == (1, 1)
    assert (
        "scheme.gradient must be backprop or checkpoint with the basis legendre, got 'adjoint'"
        in err
    )
    assert run("train", *go_on, "scheme.gradient=backprop")[0] == 0
