"""The record of a run stays with its checkpoint."""

import re
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.outcomes import record


def test_a_run_is_not_written_over(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDDLE", "u")
    before = Path("run/.hydra/overrides.yaml").read_text()
    Path("run/train").mkdir()
    for entry, *given in (
        ("train", "epochs=2", "hydra.run.dir=run"),
        ("train", "epochs=2", "++hydra.run.dir=run"),
        ("train", "epochs=2", "hydra.run.dir=r${oc.env:MIDDLE}n"),
        ("train", "epochs=2", "hydra.run.dir=run/${hydra:job.name}/.."),
        ("train", "epochs=2", "hydra.run.dir=run", "ckpt_path=elsewhere/checkpoints/last.ckpt"),
        ("evaluate", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=run"),
    ):
        code, _, err = run(entry, *given)
        assert (code, err.count("\n")) == (1, 1)
        assert re.search(
            "hydra.run.dir must be another folder than 'run(/train/..)?', which holds a run;", err
        )
    assert Path("run/.hydra/overrides.yaml").read_text() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "model=resnet",
            "ckpt_path must be a checkpoint of the network that model and dataset describe;",
        ),
        (
            "optimizer=adamw",
            "optimizer._target_ must be torch.optim.SGD, as in the run of ckpt_path, got torch.o",
        ),
        (
            "optimizer.decay_norm_and_bias=false",
            "optimizer.decay_norm_and_bias must be True, as in the run of ckpt",
        ),
    ],
)
def test_a_run_that_cannot_be_continued_so_keeps_its_record(
    change: str, message: str, run: Run, trained: Path
) -> None:
    before = record(trained)
    resume = (
        "train",
        "ckpt_path=last",
        "hydra.run.dir=run",
        change,
        "epochs=2",
        "hydra.job.chdir=true",
    )
    code, _, err = run(*resume)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith(f"error: {message}")
    assert record(trained) == before


def test_a_run_that_is_stopped_before_its_first_checkpoint_keeps_its_record(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = record(trained)

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("contnet.commands.build.data", stop)
        assert (
            run("train", "ckpt_path=last", "hydra.run.dir=run", "optimizer.lr=5", "epochs=2")[0]
            == 130
        )
    assert record(trained) == before
