"""What TensorBoard shows of a run."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from contnet.training.callbacks.tensorboard import LONGEST_NAME, TensorBoardRun, tag


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("train_loss", "loss/train"),
        ("val_accuracy", "accuracy/val"),
        ("test_accuracy_euler_4", "manifestations/test_euler_4"),
        ("val_accuracy_min", "manifestations/val_min"),
        ("lr", "optimizer/lr"),
        ("n_f_evals", "speed/n_f_evals"),
        ("train_loss_of_mine", "train_loss_of_mine"),
        ("mine", "mine"),
    ],
)
def test_figures_are_in_groups(name: str, shown: str) -> None:
    assert tag(name) == shown


def recorded(folder: Path, *overrides: str) -> Path:
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    lines = "".join(f"- {override}\n" for override in overrides)
    (folder / ".hydra" / "overrides.yaml").write_text(lines or "[]\n")
    return folder


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ((), ""),
        (("seed=2", "scheme=torchdiffeq/dopri5"), "seed=2,scheme=torchdiffeq_dopri5"),
        (("ckpt_path=a/b.ckpt", "logger.tensorboard.name=x", "epochs=3"), "epochs=3"),
        (("+model.x=${seed}", "'refine.epochs=[1,2]'"), "+model.x=__seed_,refine.epochs=_1,2_"),
    ],
    ids=str,
)
def test_a_run_is_named_for_its_overrides(
    tmp_path: Path, overrides: tuple[str, ...], name: str
) -> None:
    logger = TensorBoardRun(save_dir=str(recorded(tmp_path, *overrides)))
    logger.log_metrics({"lr": 0.1}, 0)
    logger.finalize("success")
    [file] = (tmp_path / "tensorboard").rglob("events.*")
    assert file.parent == tmp_path / "tensorboard" / name


def test_a_name_fits_into_a_file_system(tmp_path: Path) -> None:
    logger = TensorBoardRun(save_dir=str(recorded(tmp_path, *(f"k{i}={i}" for i in range(200)))))
    assert len(str(logger.version)) == LONGEST_NAME


@pytest.mark.parametrize("first", [(), ("epochs=1",)], ids=["without a name", "with a name"])
def test_a_resumed_run_keeps_its_name(tmp_path: Path, first: tuple[str, ...]) -> None:
    names = []
    for overrides, ckpt_path in ((first, None), (("epochs=2",), str(tmp_path / "last.ckpt"))):
        folder = str(recorded(tmp_path, *overrides))
        logger = TensorBoardRun(save_dir=folder, ckpt_path=ckpt_path)
        logger.log_metrics({"lr": 0.1}, 0)
        names.append(logger.version)
    assert names[0] == names[1]
    fresh = TensorBoardRun(save_dir=folder, ckpt_path="another/last.ckpt")
    assert fresh.version == "epochs=2"


def test_a_resumed_run_does_not_follow_links(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "events.1").touch()
    folder = recorded(tmp_path / "run", "seed=2")
    (folder / "tensorboard").mkdir()
    for name in ("seed=1", "seed=2"):
        (folder / "tensorboard" / name).symlink_to(elsewhere)
    logger = TensorBoardRun(save_dir=str(folder), ckpt_path=str(folder / "last.ckpt"))
    logger.log_metrics({"lr": 0.1}, 0)
    logger.finalize("success")
    assert [path.name for path in elsewhere.iterdir()] == ["events.1"]


def test_the_table_of_hyper_parameters_points_to_the_figures(tmp_path: Path) -> None:
    logger = TensorBoardRun(save_dir=str(tmp_path))
    logger.begin_session({"seed": 1, "model": "resnet", "optimizer.lr": 0.1})
    logger.log_metrics({"val_accuracy": 0.5}, 3)
    logger.finalize("success")
    events = EventAccumulator(logger.log_dir).Reload()
    assert [(event.step, event.value) for event in events.Scalars("accuracy/val")] == [(3, 0.5)]
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    for name in (b"accuracy/val", b"accuracy/test", b"optimizer.lr"):
        assert name in content
    assert "_hparams_/session_end_info" in events.summary_metadata
