import json
import os
import re
import shutil
from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from contnet import SCHEMES, ContinuousNet
from contnet.commands.checkpoint_paths import checkpoint_paths
from contnet.commands.study_request import Request
from contnet.errors import ConfigError
from contnet.ode import statistics
from contnet.ode.manifestation import Manifestation
from tests.configuration import CONF
from tests.conftest import Run
from tests.outcomes import LAST, result, rows

FAST = ("epochs=1", "model.alpha=2", "hydra.run.dir=run")


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
            "sweep.budget must be like latency<=0.5x, parameters<=0.5x or "
            "accuracy>=-0.5pp, got 'cheap'",
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
    run: Run, trained: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    code, _, err = run("evaluate", "ckpt_path=run/checkpoints/last.ckpt", *overrides)
    assert (code, err.count("\n")) == (1, 1)
    assert message in err
    assert not (tmp_path / "outputs").exists()


def test_last_is_the_newest_run_alone_and_in_a_list(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    newest, older = (tmp_path / "outputs/train/2026-11-27" / name for name in ("10-00-01", "09-00"))
    for age, folder in enumerate((newest, older)):
        shutil.copytree(trained, folder)
        os.utime(folder / LAST, (1e9 - age, 1e9 - age))
    found = checkpoint_paths("ckpt_path", "last")
    assert found == [str((newest / LAST).relative_to(tmp_path))]
    several = OmegaConf.create(["last", "run"])
    assert checkpoint_paths("sweep.reference", several) == [*found, f"run/{LAST}"]


@pytest.mark.parametrize("key", ["ckpt_path", "sweep.reference"])
def test_last_without_a_run_is_refused_in_one_line_that_names_the_key(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        checkpoint_paths(key, "last")
    message = f"{key}=last finds no checkpoints/last.ckpt in any folder of outputs/train"
    assert str(raised.value) == message


def test_a_study_is_by_default_in_the_manifestations_that_the_network_was_trained_in() -> None:
    network = ContinuousNet(alpha=1, initial_time_d=2)
    statistics.provide(network, [Manifestation(SCHEMES["midpoint"], n) for n in (1, 4)])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        request = Request.of(compose("evaluate", ["run_dir=e", "ckpt_path=a.ckpt"]))
    assert [str(one) for one in request.plan.manifestations(network)] == [
        "euler, 2 steps",
        "midpoint, 1 step",
        "midpoint, 4 steps",
    ]


@pytest.mark.parametrize(
    ("precision", "scheme"),
    [
        ("32-true", "euler"),
        *(
            pytest.param(*settings, marks=pytest.mark.long)
            for settings in (
                ("bf16-mixed", "rk4_classic"),
                ("32-true", "dopri5"),
                ("32-true", "rk4_classic"),
                ("bf16-mixed", "euler"),
                ("bf16-mixed", "dopri5"),
            )
        ),
    ],
)
def test_evaluation_at_the_training_settings_is_the_test_result_of_training_exactly(
    run: Run, scheme: str, precision: str
) -> None:
    training = (f"scheme={scheme}", f"trainer.precision={precision}", "model.initial_time_d=2")
    code, out, _ = run("train", *FAST, *training)
    assert code == 0
    assert "test accuracy" in out
    other = "[euler,midpoint,rk4_classic,dopri5]"
    code, out, _ = run(
        "evaluate",
        "ckpt_path=run/checkpoints/last.ckpt",
        f"sweep.scheme={other}",
        "sweep.n_time_steps=[1,2]",
        "sweep.convergence=false",
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


@pytest.mark.long
def test_several_checkpoints_are_studied_in_one_table_with_pictures_and_a_page(run: Run) -> None:
    refined = (
        "epochs=2",
        "model.alpha=2",
        "refine.epochs=[1]",
        "scheme=rk4_classic",
        "hydra.run.dir=runs/0",
    )
    assert run("train", *refined)[0] == 0
    assert (
        run("train", "epochs=1", "model.alpha=2", "model.initial_time_d=2", "hydra.run.dir=runs/1")[
            0
        ]
        == 0
    )
    assert (
        run(
            "train",
            "epochs=1",
            "model=resnet",
            "model.alpha=2",
            "model.depth=8",
            "hydra.run.dir=runs/2",
        )[0]
        == 0
    )
    sweep = (
        "sweep.scheme=[euler,rk4_classic,dopri5]",
        "sweep.n_time_steps=[1,2]",
        "sweep.recalibrate=true",
    )
    more = ("sweep.rtol=[1e-2,1e-30]", 'sweep.budget="accuracy>=-100pp"', "hydra.run.dir=study")
    code, out, err = run("evaluate", "ckpt_path=runs", *sweep, *more)
    assert (code, err) == (0, "")
    for line in (
        "comparison",
        "a network without depth-time has nothing to sweep",
        "underflow in dt",
        "slopes",
    ):
        assert line in out
    assert "python evaluate.py ckpt_path=runs/0/checkpoints/last.ckpt sweep.scheme=[" in out

    table = rows("study/invariance.csv")
    assert len(table) == 2 * 2 * 6 + 2
    for number in range(3):
        trained = [
            r
            for r in table
            if r["trained"] == "True" and r["checkpoint"].startswith(f"runs/{number}")
        ]
        wanted = json.loads(Path(f"runs/{number}/result.json").read_text())
        assert [float(row["accuracy"]) for row in trained] == [wanted["test_accuracy"]]
        assert [float(row["loss"]) for row in trained] == [wanted["test_loss"]]
    names = [path.stem for path in Path("study").glob("*.png")]
    assert {"accuracy", "latency", "convergence-0", "convergence-1"} <= set(names)
    for name in names:
        with Image.open(f"study/{name}.png") as image:
            assert min(image.size) > 300, name
    found = json.loads(Path("study/invariance.json").read_text())
    assert [study["checkpoint"] for study in found] == [
        f"runs/{i}/checkpoints/last.ckpt" for i in range(3)
    ]
    assert len(found[0]["rows"][0]["class_accuracy"]) == 10
    page = Path("study/report.html").read_text()
    assert page.count("<img ") == page.count("data:image/svg+xml;base64,") == len(names)
    assert not re.search(r"""(?:src|href)=["'](?!data:)|url\(|https?:|@import""", page)
    assert list(Path("study/tensorboard").glob("events*"))

    beside = ("sweep.reference=runs/1", "hydra.run.dir=again")
    code, out, _ = run("evaluate", 'ckpt_path="runs/[02]/checkpoints/last.ckpt"', *sweep, *beside)
    assert code == 0
    assert [
        r["trained"] for r in rows("again/invariance.csv") if r["checkpoint"].startswith("runs/1")
    ] == ["True"]
    assert [r["latency_ms"] for r in rows("again/invariance.csv")][:3] == [
        r["latency_ms"] for r in table
    ][:3]


@pytest.mark.long
def test_strict_ends_with_3_where_a_network_is_not_invariant(run: Run) -> None:
    assert (
        run("train", "epochs=2", "model.alpha=4", "model.time_epsilon=2", "hydra.run.dir=run")[0]
        == 0
    )
    sweep = (
        "ckpt_path=run/checkpoints/last.ckpt",
        "sweep.scheme=[rk4]",
        "sweep.n_time_steps=[1,16]",
        "sweep.convergence=false",
    )
    lost = json.loads(Path("run/result.json").read_text())["test_accuracy"] - min(
        float(row["accuracy"])
        for row in (run("evaluate", *sweep, "hydra.run.dir=e"), rows("e/invariance.csv"))[1]
    )
    assert lost > 0
    for tolerance, expected in ((100 * lost - 0.01, 3), (100 * lost + 0.01, 0)):
        code, out, _ = run("evaluate", *sweep, "sweep.strict=true", f"sweep.tolerance={tolerance}")
        assert code == expected
        assert ("not invariant: loses" in out) == (expected == 3)


def test_images_of_other_classes_than_the_checkpoints_are_refused(run: Run, tmp_path: Path) -> None:
    for root, names in (("pets", ("cat", "dog")), ("cars", ("bus", "van"))):
        for split in ("train", "test"):
            for name in names:
                (tmp_path / root / split / name).mkdir(parents=True)
                Image.new("RGB", (8, 8)).save(tmp_path / root / split / name / "0.png")
    options = (
        "dataset=image_folder",
        "dataset.root=pets",
        "dataset.image_size=8",
        "dataset.val_size=0",
    )
    assert run("train", *options, "epochs=1", "model.alpha=2", "hydra.run.dir=run")[0] == 0
    code, _, err = run("evaluate", "ckpt_path=run/checkpoints/last.ckpt", "dataset.root=cars")
    assert (code, err.count("\n")) == (1, 1)
    message = (
        "dataset.root must hold the classes that 'run/checkpoints/last.ckpt' was "
        "trained on, cat, dog; it holds bus"
    )
    assert message in err
    assert not (tmp_path / "outputs").exists()
