"""`contnet-export`: what it is asked for, what it refuses, and what it leaves behind."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from contnet import load
from contnet.commands.export_images import TrialImages
from contnet.commands.export_request import prepared, settings
from contnet.commands.grammar import with_manifestation
from contnet.errors import ConfigError
from contnet.export.exporting import Setting
from contnet.invariance.budget import Budget
from contnet.invariance.dial import within
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import SCHEMES
from tests.configuration import CONF
from tests.invariance.test_dial import ROWS, row
from tests.serving.made import NETWORKS, images
from tests.serving.made import trained as made

Run = Callable[..., tuple[int, str, str]]


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        typed = with_manifestation(["ckpt_path=net.safetensors", *overrides])
        return compose("export", ["run_dir=run", *typed])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "invariance.json"
    path.write_text(json.dumps([{"rows": ROWS, "reference": False}]))
    return path


def test_all_pairs_of_schemes_and_steps_are_asked_for_once() -> None:
    assert settings(config()) == [Setting()]
    assert settings(config("n_time_steps=4")) == [Setting(None, 4)]
    pairs = settings(config("scheme=[euler,midpoint,euler]", "n_time_steps=[1,2]"))
    assert pairs == [
        Setting("euler", 1),
        Setting("euler", 2),
        Setting("midpoint", 1),
        Setting("midpoint", 2),
    ]


def test_a_study_chooses_as_the_dial_does(study: Path) -> None:
    asked = f"study={study}"
    assert settings(config(asked, "accuracy_loss=0.007")) == [Setting("euler", 1)]
    assert settings(config(asked, "accuracy_loss=0")) == [Setting("rk4", 2)]
    for condition, expected in (
        ("budget='latency<=0.8x'", Setting("midpoint", 1)),
        ("budget='accuracy>=0pp'", Setting("euler", 2)),
        ("budget=['latency<=0.6x','accuracy>=-1pp']", Setting("euler", 1)),
    ):
        assert settings(config(asked, condition)) == [expected]


def test_a_budget_chooses_from_the_file_of_a_study(tmp_path: Path, study: Path) -> None:
    assert within(study, Budget(latency=0.5)) == Manifestation(SCHEMES["euler"], 1)
    with pytest.raises(ValueError, match=r"must leave a choice; nothing in .* latency<=0\.1x"):
        within(study, Budget(latency=0.1))
    failed = [row("euler", 2, None, 0.0, trained=True, failed="diverges"), row("rk4", 1, 0.5, 1.0)]
    study.write_text(json.dumps([{"rows": failed, "reference": False}]))
    with pytest.raises(ValueError, match="the network as trained has no figures"):
        within(study, Budget(latency=0.5))


REFUSED = [
    (["scheme=eler"], "scheme must be one of euler, midpoint, heun2, ralston2, heun3, rk4"),
    (["scheme=dopri5"], "got 'dopri5': its steps depend on the state"),
    (["scheme=torchdiffeq_dopri5"], "scheme must be one of euler"),
    (["scheme=[]"], "scheme must name at least one, got []"),
    (["n_time_steps=0"], "n_time_steps must be a whole number of at least 1, got 0"),
    (["n_time_steps=[1,two]"], "n_time_steps must be a whole number of at least 1, got 'two'"),
    (["n_time_steps=5000"], "n_time_steps must be at most 4096, got 5000"),
    (["budget='latency<=0.5x'"], "budget needs study=..., the invariance.json of a study"),
    (["accuracy_loss=0.1"], "accuracy_loss needs study=..."),
    (["study=STUDY"], "study must come with one of budget and accuracy_loss"),
    (["study=STUDY", "budget=[]", "accuracy_loss=0"], "study must come with one of budget and"),
    (["study=STUDY", "scheme=euler", "accuracy_loss=0"], "scheme must be left out with study"),
    (["study=STUDY", "accuracy_loss=-1"], "accuracy_loss must be a number at least 0, got -1"),
    (["study=STUDY", "budget=fast"], "budget must be like latency<=0.5x"),
    (["study=STUDY", "budget='latency<=0.01x'"], "budget must leave a choice; nothing in"),
    (["study=nowhere", "accuracy_loss=0"], "study must be the invariance.json of a study; there"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED)
def test_a_request_that_cannot_be_kept_is_refused(
    overrides: list[str], message: str, study: Path
) -> None:
    typed = [one.replace("STUDY", str(study)) for one in overrides]
    with pytest.raises(ConfigError) as refused:
        settings(config(*typed))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_adaptive_choice_of_a_study_is_refused(study: Path) -> None:
    rows = [row("dopri5", None, 0.9, 1.0, rtol=1e-3, trained=True)]
    study.write_text(json.dumps([{"rows": rows, "reference": False}]))
    with pytest.raises(ConfigError, match=r"study chooses dopri5, rtol 0\.001, whose steps depend"):
        settings(config(f"study={study}", "accuracy_loss=0"))


def test_a_network_is_prepared_in_float32_and_projected() -> None:
    network = made(NETWORKS["post-activation"], refined=True, dtype=torch.bfloat16)
    asked = config("project.n_basis=2", "project.basis=legendre")
    found = prepared(network, asked, [Setting("midpoint", 2)])
    assert next(found.parameters()).dtype == torch.float32
    assert {(block.basis, block.n_basis) for block in found.blueprint.depth} == {("legendre", 2)}
    assert str(found.manifestation) == "midpoint, 2 steps"
    assert found(images()).shape == (4, 3)


@pytest.mark.parametrize(
    ("kind", "overrides", "message"),
    [
        ("ResNet", ["scheme=euler"], "scheme must be left out: the network has no ODE blocks"),
        ("ResNet", ["project.n_basis=1"], "project.n_basis must be left out: the network has no"),
        (
            "adaptive",
            [],
            "scheme must be given: the network was trained with dopri5, whose",
        ),
        ("Legendre", ["project.n_basis=0"], "project.n_basis must be a whole number of at least 1"),
        ("Legendre", ["project.basis=hat"], "project.basis must be one of piecewise_constant"),
    ],
)
def test_a_network_that_a_request_does_not_suit_is_refused(
    kind: str, overrides: list[str], message: str
) -> None:
    asked = config(*overrides)
    with pytest.raises(ConfigError) as refused:
        prepared(made(NETWORKS[kind]), asked, settings(asked))
    assert message in str(refused.value)


def test_weights_alone_are_tried_on_random_pixels_and_it_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = TrialImages(config(), "net.safetensors", made(NETWORKS["no stitch"])).sample
    assert (found.images.dtype, found.images.shape) == (torch.uint8, (64, 3, 8, 8))
    assert (found.labels, found.calibration) == (None, None)
    assert "on random pixels: a file of weights names no data set" in caplog.text
    for overrides, message in (
        (["precision=int8"], "precision=int8 needs images"),
        (["recalibrate=true"], "recalibrate needs the training images"),
        (["dataset.root=here"], "dataset.root must be left out"),
    ):
        with pytest.raises(ConfigError, match=message):
            TrialImages(config(*overrides), "net.safetensors", made(NETWORKS["no stitch"]))


def test_images_in_class_folders_have_labels(tmp_path: Path) -> None:
    from PIL import Image

    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (9, 7), (90 * label, i, 7)).save(tmp_path / name / f"{i}.png")
    network = made(NETWORKS["no stitch"])
    found = TrialImages(config(f"images={tmp_path}"), "net.safetensors", network).sample
    assert found.images.shape == (4, 3, 8, 8)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.images[:, 0, 0, 0].tolist() == [0, 0, 90, 90]
    assert found.source == f"4 of 4 images in {tmp_path}"
    Image.new("RGB", (8, 8)).save(tmp_path / "stray.png")
    assert TrialImages(config(f"images={tmp_path}"), "a.safetensors", network).sample.labels is None


def test_files_of_a_run_are_written_compared_and_recorded(run: Run, trained: Path) -> None:
    asked = ("scheme=[euler,midpoint]", "n_time_steps=2", "format=safetensors", "output=new/nets")
    code, out, err = run("export", "ckpt_path=run", *asked)
    assert (code, err) == (0, "")
    folder = trained.parent / "new" / "nets"
    names = ["euler_2.safetensors", "export.json", "midpoint_2.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    record = json.loads((folder / "export.json").read_text())
    assert record["images"] == "359 of 359 test images"
    for figures in record["files"]:
        assert figures["difference"] == 0
        assert figures["accuracy"] == figures["contnet_accuracy"] > 0.05
    assert load(folder / "midpoint_2.safetensors").manifestation.name == "midpoint"
    assert "written to new/nets: euler_2.safetensors, midpoint_2.safetensors, export.json" in out
    assert max(map(len, out.split("written to")[0].splitlines())) <= 80


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "ckpt_path must be given, as ckpt_path=..."),
        (["ckpt_path=nowhere.ckpt"], "ckpt_path must be "),
        (["ckpt_path=a.safetensors", "format=tflite"], "format must be one of onnx, torch_export"),
        (["ckpt_path=a.safetensors", "opset=18"], "opset is not a key; there are"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    overrides: list[str], message: str, run: Run, tmp_path: Path
) -> None:
    code, out, err = run("export", *overrides)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_choice_of_an_evaluation_is_exported_by_the_command_that_it_prints(
    run: Run, trained: Path
) -> None:
    asked = ("sweep.n_time_steps=[1,2]", "sweep.recalibrate=true", "sweep.convergence=false")
    budget = "sweep.budget='accuracy>=-100pp'"
    code, out, _ = run("evaluate", "ckpt_path=run", *asked, budget, "project.n_basis=[1]")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("  python export.py ")]
    code, out, err = run("export", *shlex.split(line)[2:], "format=torch_export", "output=chosen")
    assert (code, err) == (0, "")
    assert len(list((trained.parent / "chosen").glob("*.pt2"))) == 1


@pytest.mark.long
def test_digits_are_exported_to_onnx_in_each_precision_with_recalibration(
    run: Run, trained: Path
) -> None:
    for more in (["precision=int8"], ["recalibrate=true", "n_time_steps=2"]):
        code, out, err = run("export", "ckpt_path=run", "output=files", *more)
        assert (code, err) == (0, ""), out
    names = sorted(path.name for path in (trained.parent / "files").glob("*.onnx"))
    assert names == ["euler_1_int8.onnx", "euler_2.onnx"]
