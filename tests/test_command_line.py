import json
from itertools import product
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.conftest import Run
from tests.processes import rows

FAST = ("epochs=1", "model.alpha=2", "hydra.run.dir=run")


def result(path: Path | str) -> dict:
    return json.loads(Path(path, "result.json").read_text())


BAD_COMMANDS = [
    (
        ["scheme=eulerr"],
        "scheme=eulerr is not an option; choose from adaptive_heun, bosh3, dopri5, dopri8, euler,",
    ),
    (
        ["dataset=mnist"],
        "dataset=mnist is not an option; choose from cifar10, cifar100, digits, fashion_mnist,",
    ),
    (["schme=euler"], "schme is not a key; did you mean scheme?"),
    (["alpha=3"], "alpha is not a key; did you mean model.alpha?"),
    (["model.alpa=3"], "model.alpa is not a key; did you mean model.alpha?"),
    (
        ["dataset.foo=3"],
        "dataset.foo is not a key; there are batch_size, test_batch_size, val_size,",
    ),
    (["epochs=ten"], "epochs must be a whole number of at least 1, got 'ten'"),
    (["epochs=0"], "epochs must be a whole number of at least 1, got 0"),
    (["seed=-1"], "seed must be a whole number of at least 0, got -1"),
    (["model.alpha=0"], "model.alpha must be a whole number of at least 1, got 0"),
    (["model.alpha=wide"], "model.alpha must be a whole number of at least 1, got 'wide'"),
    (
        ["model.basis=legendr"],
        "model.basis must be one of piecewise_constant, piecewise_linear, continuous_linear, legendre; got 'legendr'",
    ),
    (
        ["model.basis=piecewise_linear", "model.initial_time_d=3"],
        "model.initial_time_d must be a multiple of 2 with the basis piecewise_linear, got 3",
    ),
    (
        ["model.basis=legendre", "scheme.gradient=adjoint"],
        "model.gradient must be backprop or checkpoint with the basis",
    ),
    (
        ["model.initial_time_d=-2"],
        "model.initial_time_d must be a whole number of at least 1, got -2",
    ),
    (["model.batch_norm=maybe"], "model.batch_norm must be true or false, got 'maybe'"),
    (["model.time_epsilon=0"], "model.time_epsilon must be a number greater than 0, got 0"),
    (["scheme.name=rk5"], "scheme.name must be one of euler, midpoint, heun2,"),
    (
        ["scheme.n_time_steps_per=-3"],
        "scheme.n_time_steps_per must be a whole number of at least 1, got -3",
    ),
    (["scheme=dopri5", "scheme.rtol=0"], "scheme.rtol must be a number greater than 0, got 0"),
    (["dataset.val_size=2"], "dataset.val_size must be a number at least 0 and less than 1, got 2"),
    (["dataset.batch_size=0"], "dataset.batch_size must be a whole number of at least 1, got 0"),
    (
        ["dataset.mean=[1,2]"],
        "dataset.mean must be a list of 1 numbers, one for each channel, got [1, 2]",
    ),
    (["dataset=image_folder"], "dataset.root must be given, as dataset.root=..."),
    (
        ["dataset=image_folder", "dataset.root=no/such"],
        "dataset.root must hold the folders train/<class>/ and",
    ),
    (["optimizer.lr=0"], "optimizer.lr must be a number greater than 0, got 0"),
    (
        ["optimizer.momentum=1"],
        "optimizer.momentum must be a number at least 0 and less than 1, got 1",
    ),
    (["optimizer.weight_decay=-1"], "optimizer.weight_decay must be a number at least 0, got -1"),
    (
        ["lr_schedule.milestones=[5,2]"],
        "lr_schedule.milestones must be in increasing order, got [5, 2]",
    ),
    (["lr_schedule.milestones=5"], "lr_schedule.milestones must be a list of epochs, got 5"),
    (["lr_schedule.gamma=no"], "lr_schedule.gamma must be a number greater than 0, got 'no'"),
    (
        ["trainer.precision=8-bit"],
        "trainer: Precision '8-bit' is invalid. Allowed precision values:",
    ),
    (
        ["trainer.accelerator=abacus"],
        "trainer: You selected an invalid accelerator name: `accelerator='abacus'`",
    ),
    (["ckpt_path=5"], "ckpt_path must be the path of a checkpoint, got 5"),
    (["refine=null"], "refine must keep its keys, got None"),
    (["refine.epochs=0"], "refine.epochs must be a list of epochs, got 0"),
    (["refine.variance=high"], "refine.variance must be a number at least 0, got 'high'"),
    (
        ["+logger.csv.colour=red"],
        "logger.csv.colour is no option of MetricsFile; leave it out, as ~logger.csv.colour",
    ),
    (
        ["trainer.limit_train_batches=0"],
        "trainer.limit_train_batches must be a whole number of batches of at least 1,",
    ),
    (
        ["trainer.limit_train_batches=2.0"],
        "trainer.limit_train_batches must be a whole number of batches of at least",
    ),
    (
        ["lr_schedule=cosine", "trainer.limit_train_batches=0.01"],
        "trainer.limit_train_batches must leave a batch to",
    ),
    (
        ["--config-name=nope"],
        "Cannot find primary config 'nope'. Check that it's in your config search path.",
    ),
    (
        ["ckpt_path=last", "-m"],
        "ckpt_path=last is for a single run; a sweep goes on where it was by its own command",
    ),
    (["ckpt_path=no.ckpt"], "ckpt_path must be a checkpoint file; there is none at 'no.ckpt'"),
    (
        ["+model.colour=red"],
        "model.colour is no option of ContinuousNet; leave it out, as ~model.colour where an",
    ),
    (
        ["experiment=cifar10/modern", "optimizer=adamw"],
        "optimizer.nesterov is no option of AdamW; leave it out, as",
    ),
    (
        ["experiment=cifar10/resnet20", "lr_schedule=cosine"],
        "lr_schedule.milestones is no option of cosine; leave",
    ),
    (
        ["experiment=cifar10"],
        "experiment=cifar10 is not an option; choose from cifar10/continuous_net_8_euler, cifar",
    ),
    (
        ["epochs=9", "refine.epochs=[9]"],
        "refine.epochs must lie before the end of the run at 9, got 9",
    ),
    (
        ["dataset=image_folder", "dataset.root=5"],
        "dataset.root must be the path of a folder, got 5",
    ),
    (
        ["dataset=cifar10", "dataset.root=null"],
        "dataset.root must be the path of a folder, got None",
    ),
    (["model._target_=os.getcwd"], "model._target_ must name something of contnet.,"),
    (
        ["trainer.overfit_batches=2"],
        "trainer.overfit_batches must be 0, got 2; limit_train_batches trains on a part",
    ),
    (
        ["trainer.gradient_clip_val=-1"],
        "trainer.gradient_clip_val must be a number at least 0, got -1",
    ),
    (
        ["trainer.accumulate_grad_batches=0"],
        "trainer.accumulate_grad_batches must be a whole number of at least 1",
    ),
    (
        ["optimizer=adamw", "optimizer.betas=[0.9]"],
        "optimizer.betas must be a list of two numbers, got [0.9]",
    ),
    (["compile=maybe"], "compile must be true or false, got 'maybe'"),
    (
        ["logger=null"],
        "a group must be given the name of one of its options, or left out as in ~logger; got null",
    ),
    (["epochs=[1"], "epochs=[1 is no override; it must be key=value"),
]


@pytest.mark.parametrize(
    ("overrides", "message"), BAD_COMMANDS, ids=[" ".join(o) for o, _ in BAD_COMMANDS]
)
def test_a_bad_command_is_answered_in_one_line_and_leaves_no_folder(
    run: Run, tmp_path: Path, overrides: list[str], message: str
) -> None:
    code, out, err = run("train", *overrides)
    assert code != 0
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1, err
    assert out == ""
    assert list(tmp_path.rglob("*")) == []


def test_evaluate_wants_a_checkpoint_of_ours(run: Run, tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    torch.save(Path("/"), tmp_path / "pickle.ckpt")
    (tmp_path / "noise.ckpt").write_bytes(b"noise" * 100)
    (tmp_path / "empty.ckpt").touch()
    for overrides, message in (
        ([], "ckpt_path must be given, as ckpt_path=..."),
        (
            ["ckpt_path=none.ckpt"],
            "ckpt_path must be a checkpoint file; there is none at 'none.ckpt'",
        ),
        (["ckpt_path=foreign.ckpt"], "'foreign.ckpt' is another program's"),
        (["ckpt_path=pickle.ckpt"], "'pickle.ckpt' is damaged or no checkpoint, or holds objects"),
        (["ckpt_path=noise.ckpt"], "'noise.ckpt' is damaged or no checkpoint"),
        (["ckpt_path=empty.ckpt"], "'empty.ckpt' is damaged or no checkpoint"),
    ):
        code, _, err = run("evaluate", *overrides)
        assert (code, err.count("\n")) == (1, 1)
        assert message in err
    assert not (tmp_path / "outputs").exists()


def test_a_folder_with_an_unreadable_image_is_refused_before_training(
    run: Run, tmp_path: Path
) -> None:
    for split, name in product(("train", "test"), ("cat", "dog")):
        (tmp_path / "data" / split / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "data" / split / name / "0.png")
    (tmp_path / "data" / "test" / "dog" / "1.png").write_text("no image")
    code, _, err = run("train", "dataset=image_folder", "dataset.root=data", "dataset.val_size=0")
    assert (code, err.count("\n")) == (1, 1)
    assert "error: dataset.root: cannot use data/test/dog/1.png: not a readable image" in err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep.scheme=[]"], "sweep.scheme must name at least one, got []"),
        (["sweep.scheme=[eulerr]"], "sweep.scheme must be one of euler, midpoint, heun2"),
        (
            ["sweep.n_time_steps=[2,0]"],
            "sweep.n_time_steps must be a whole number of at least 1, got 0",
        ),
        (
            ["sweep.n_time_steps=abc"],
            "sweep.n_time_steps must be a whole number of at least 1, got 'abc'",
        ),
        (["dataset.root=moved"], "dataset.root must be left out: contnet.data.digits has no root"),
        (["trainer.accelerator=abacus"], "trainer: You selected an invalid accelerator name"),
        (["sweep.rtol=[0]"], "sweep.rtol must be a number greater than 0, got 0"),
        (["sweep.tolerance=-1"], "sweep.tolerance must be a number at least 0, got -1"),
        (["sweep.strict=maybe"], "sweep.strict must be true or false, got 'maybe'"),
        (["sweep.recalibrate=1"], "sweep.recalibrate must be true or false, got 1"),
        (
            ["sweep.budget=cheap"],
            "sweep.budget must be like latency<=0.5x, parameters<=0.5x or accuracy>=-0.5pp, got 'cheap'",
        ),
        (
            ["dataset.test_batch_size=0"],
            "dataset.test_batch_size must be a whole number of at least 1, got 0",
        ),
        (
            ["ckpt_path=none/*.ckpt"],
            "ckpt_path must name at least one checkpoint; there is none at 'none/*.ckpt'",
        ),
        (["project.n_basis=[0]"], "project.n_basis must be a whole number of at least 1, got 0"),
        (["project.n_basis=[]"], "project.n_basis must name at least one, got []"),
        (
            ["project.basis=fourier"],
            "project.basis must be one of piecewise_constant, piecewise_linear, ",
        ),
        (
            ["project.basis=[legendre,piecewise_linear]", "project.n_basis=[4,3]"],
            "project.n_basis must be a multiple of 2 with the basis piecewise_linear, got 3",
        ),
        (
            ["project.basis=piecewise_linear"],
            "project.n_basis must be a multiple of 2 with the basis piecewise_linear",
        ),
        (["project.save=maybe"], "project.save must be true or false, got 'maybe'"),
        (
            ["project.save=true"],
            "project.save must be false without project.n_basis and project.basis, got true",
        ),
        (["project.n_nodes=[2]"], "project.n_nodes"),
        (["ckpt_path=[]"], "ckpt_path must name at least one checkpoint, got []"),
        (
            ["ckpt_path=run/tensorboard"],
            "ckpt_path must name at least one checkpoint; there is none at 'run/tensor",
        ),
    ],
)
def test_a_bad_evaluation_is_refused(
    run: Run, tmp_path: Path, overrides: list[str], message: str
) -> None:
    assert run("train", *FAST)[0] == 0
    code, _, err = run("evaluate", "ckpt_path=run/checkpoints/last.ckpt", *overrides)
    assert (code, err.count("\n")) == (1, 1)
    assert message in err
    assert not (tmp_path / "outputs").exists()


def test_a_run_is_not_resumed_with_another_network_or_from_beyond_its_end(
    run: Run, tmp_path: Path
) -> None:
    assert run("train", "epochs=2", "model.alpha=2", "hydra.run.dir=run")[0] == 0
    for overrides, message in (
        (
            ["model.alpha=3"],
            "ckpt_path must be a checkpoint of the network that model and dataset describe; size mis",
        ),
        (
            ["model.alpha=2", "epochs=1"],
            "epochs must be at least 2, the epochs that ckpt_path has done, got 1",
        ),
    ):
        code, _, err = run("train", *overrides, "ckpt_path=run/checkpoints/last.ckpt")
        assert (code, err.count("\n")) == (1, 1)
        assert message in err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.precision=64-true"],
        ["trainer.precision=bf16-true"],
        ["trainer.fast_dev_run=true"],
        ["trainer.max_steps=3", "dataset.val_size=0"],
        ["trainer.limit_train_batches=2", "trainer.accumulate_grad_batches=2"],
        ["trainer.enable_progress_bar=false"],
        ["optimizer=adamw", "lr_schedule=cosine"],
        ["~logger"],
        ["~callbacks"],
        ["~callbacks.best"],
        ["dataset.num_workers=1"],
        ["callbacks=ema", "dataset.val_size=0"],
        ["optimizer.decay_norm_and_bias=false", "label_smoothing=0.1"],
        ["model=resnet", "model.depth=8"],
        ["model=wide_resnet", "model.depth=10", "model.widen_factor=2", "model.dropout=0.1"],
        ["model=wide_continuous_net", "model.widen_factor=2"],
        [
            "model=continuous_net_act_first",
            "model.use_skipinit=true",
            "model.batch_norm=false",
            "model.stitch=false",
        ],
    ],
    ids=" ".join,
)
def test_settings_of_lightnings_and_groups_left_out_work(run: Run, overrides: list[str]) -> None:
    code, _, err = run("train", *FAST, *overrides)
    assert (code, err) == (0, "")
    assert 0 <= result("run")["test_accuracy"] <= 1


@pytest.mark.parametrize("scheme", ["euler", "rk4_classic", "dopri5"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_evaluation_at_the_training_settings_is_the_test_result_of_training_exactly(
    run: Run, scheme: str, precision: str
) -> None:
    training = (f"scheme={scheme}", f"trainer.precision={precision}", "model.initial_time_d=2")
    code, out, _ = run("train", *FAST, *training)
    assert code == 0
    assert "test_accuracy" in out
    other = "[euler,midpoint,rk4_classic,dopri5]"
    code, out, _ = run(
        "evaluate",
        "ckpt_path=run/checkpoints/last.ckpt",
        f"sweep.scheme={other}",
        "sweep.n_time_steps=[1,2]",
        "hydra.run.dir=evaluation",
    )
    assert code == 0
    assert "* as trained" in out
    table = rows("evaluation/invariance.csv")
    assert [(row["scheme"], row["n_time_steps"]) for row in table] == [
        *product(("euler", "midpoint", "rk4_classic"), "12"),
        ("dopri5", ""),
    ]
    assert [int(row["n_f_evals"]) for row in table[:-1]] == [3, 6, 6, 12, 12, 24]
    trained = [row for row in table if row["trained"] == "True"]
    assert [row["scheme"] for row in trained] == [scheme]
    assert float(trained[0]["accuracy"]) == result("run")["test_accuracy"]
    assert float(trained[0]["loss"]) == result("run")["test_loss"]


def test_a_run_leaves_what_the_design_says(run: Run, tmp_path: Path) -> None:
    code, _, err = run("train", *FAST, "lr_schedule=onecycle")
    assert (code, err) == (0, "")
    folder = tmp_path / "run"
    for name in (
        ".hydra/config.yaml",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "metrics.csv",
    ):
        assert (folder / name).is_file(), name
    assert list((folder / "tensorboard").glob("events*"))
    expected = {
        "test_accuracy",
        "test_loss",
        "parameters",
        "train_seconds",
        "images_per_second",
        "dataset",
        "model",
    }
    expected |= {"scheme", "n_time_steps", "seed", "machine", "versions", "git_commit"}
    assert expected <= result(folder).keys()
    logged = {key for row in rows(folder / "metrics.csv") for key in row}
    assert {
        "train_loss",
        "train_accuracy",
        "val_accuracy",
        "lr",
        "images_per_second",
        "parameters",
        "depth",
    } <= logged


def test_without_validation_images_nothing_is_selected(run: Run, tmp_path: Path) -> None:
    assert run("train", *FAST, "dataset.val_size=0")[0] == 0
    assert [file.name for file in (tmp_path / "run" / "checkpoints").iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("val_size", [0, 0.1])
@pytest.mark.parametrize("milestone", [2, 3])
def test_a_resumed_run_ends_as_the_one_that_was_never_stopped_to_the_last_bit(
    run: Run, val_size: float, milestone: int
) -> None:
    options = (
        "model.alpha=2",
        f"lr_schedule.milestones=[{milestone}]",
        "seed=3",
        f"dataset.val_size={val_size}",
    )
    assert run("train", *options, "epochs=4", "hydra.run.dir=through")[0] == 0
    assert run("train", *options, "epochs=2", "hydra.run.dir=stopped")[0] == 0
    resume = "ckpt_path=stopped/checkpoints/last.ckpt"
    assert run("train", *options, "epochs=4", resume, "hydra.run.dir=resumed")[0] == 0
    through, resumed = (
        torch.load(f"{name}/checkpoints/last.ckpt", weights_only=True)
        for name in ("through", "resumed")
    )
    for name, value in through["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    momenta = [c["optimizer_states"][0]["state"] for c in (through, resumed)]
    for i, state in momenta[0].items():
        assert torch.equal(state["momentum_buffer"], momenta[1][i]["momentum_buffer"])
    assert through["lr_schedulers"] == resumed["lr_schedulers"]
    assert result("through")["test_loss"] == result("resumed")["test_loss"]


def test_a_sweep_ends_with_a_table_over_its_seeds_and_tells_of_failed_jobs(
    run: Run, tmp_path: Path
) -> None:
    sweep = (
        "-m",
        "epochs=1",
        "model.alpha=2",
        "scheme=euler,midpoint",
        "seed=1,2",
        "hydra.sweep.dir=sweep",
    )
    code, out, _ = run("train", *sweep)
    assert code == 0
    assert "mean ± standard deviation over seeds" in out
    summary = rows("sweep/sweep.csv")
    assert [(row["overrides"], row["runs"]) for row in summary] == [
        ("epochs=1 model.alpha=2 scheme=euler", "2"),
        ("epochs=1 model.alpha=2 scheme=midpoint", "2"),
    ]
    accuracies = [result(f"sweep/{i}")["test_accuracy"] for i in (0, 1)]
    assert float(summary[0]["test_accuracy_mean"]) == pytest.approx(sum(accuracies) / 2)
    assert float(summary[0]["test_accuracy_std"]) == pytest.approx(
        abs(accuracies[0] - accuracies[1]) / 2**0.5
    )
    assert len(rows("sweep/sweep_jobs.csv")) == 4

    code, out, _ = run("train", "-m", "epochs=1", "model.alpha=0,2", "hydra.sweep.dir=partly")
    assert code == 1
    assert (
        "job 0 (epochs=1 model.alpha=0) failed: model.alpha must be a whole number of at least 1, got 0"
        in " ".join(out.split())
    )
    assert [(row["runs"], row["failed"]) for row in rows("partly/sweep.csv")] == [
        ("0", "1"),
        ("1", "0"),
    ]

    code, _, err = run("train", "-m", "scheme=euler,eulerr")
    assert (code, err.count("\n")) == (1, 1)
    assert "scheme=eulerr is not an option" in err
    assert not (tmp_path / "outputs").exists()
