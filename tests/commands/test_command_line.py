"""Commands that are wrong, told in one line."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from PIL import Image

from contnet.commands.habits import check_words
from tests.conftest import Run

BAD_COMMANDS = [
    (
        ["scheme=eulerr"],
        "scheme=eulerr is not an option; did you mean euler? There are adaptive_heun, bosh3",
    ),
    (
        ["scheme=torchdiffeq/dopri6"],
        "scheme=torchdiffeq/dopri6 is not an option; did you mean torchdiffeq/dopri8?",
    ),
    (["hydra/launcher=foo"], "hydra/launcher=foo is not an option; choose from basic,"),
    (
        ["scheme=torchdiffeq/scipy_solver"],
        "scheme.gradient must be adjoint with torchdiffeq/scipy_solver, which computes outside of",
    ),
    (
        ["scheme=dopri5", "scheme.control=images"],
        "scheme.control must be one of batch, image; got 'images'",
    ),
    (
        ["dataset=mnist"],
        "dataset=mnist is not an option; choose from cifar10, cifar100, digits, fashion_mnist,",
    ),
    (
        ["experiment=resnet20"],
        "experiment=resnet20 is not an option; did you mean cifar10/resnet20 or original/resnet20?",
    ),
    (["--epochs", "5"], "--epochs is not a flag; write keys without dashes: epochs=5"),
    (["--batch-size=5"], "--batch-size=5 is not a flag; write keys without dashes: batch_size=5"),
    (["-epochs=5"], "-epochs=5 is not a flag; write keys without dashes: epochs=5"),
    (["--refine", "epochs=5"], "--refine is not a flag; write keys without dashes: refine=..."),
    (["trainer.gpus=1"], "trainer.gpus is not a key; did you mean trainer.devices"),
    (["learning_rate=1"], "learning_rate is not a key; did you mean optimizer.lr?"),
    (["ckpt=a"], "ckpt is not a key; did you mean ckpt_path?"),
    (
        ["run_dir=a<b"],
        """write key=value, lists as [a,b], and quote special characters twice: 'ru""",
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
        "model.basis must be one of piecewise_constant, piecewise_linear, "
        "continuous_linear, legendre; got 'legendr'",
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
        "lr_schedule.milestones must be in increasing order and without repetition, got [5, 2]",
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
    (["refine=null"], "refine must be a group of keys, got None"),
    (["refine.epochs=0"], "refine.epochs must be a list of epochs, got 0"),
    (["refine.variance=high"], "refine.variance must be a number at least 0, got 'high'"),
    (
        ["+logger.csv.colour=red"],
        "logger.csv.colour is not an option of MetricsFile; leave it out, or remove it with ~",
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
        "ckpt_path=last must be left out of a sweep (-m); to resume a sweep, run its command again",
    ),
    (["ckpt_path=no.ckpt"], "ckpt_path must be a checkpoint file; there is none at 'no.ckpt'"),
    (
        ["+model.colour=red"],
        "model.colour is not an option of ContinuousNet; leave it out, or remove it with ~",
    ),
    (
        ["experiment=cifar10/modern", "optimizer=adamw"],
        "optimizer.nesterov is not an option of AdamW; leave it out, or remove",
    ),
    (
        ["experiment=paper/cifar10_euler", "lr_schedule=cosine"],
        "lr_schedule.milestones is not an option of cosine; leave",
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
    (["model._target_=os.getcwd"], "model: os.getcwd cannot be used; TypeError: "),
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
    (["epochs=[1"], "epochs=[1 is not an override; write key=value"),
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


def test_a_run_folder_that_cannot_be_made_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run("train", "epochs=1", "hydra.run.dir=file/run")
    assert (code, err.count("\n")) == (1, 1)
    assert "error: hydra.run.dir must be a folder that can be written to; " in err


def test_commands_are_imported_without_torch_so_that_an_error_is_answered_at_once() -> None:
    code = "import sys, train, evaluate; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="the trainer has its GPU here")
def test_a_gpu_that_is_not_there_is_named(run: Run, trained: Path) -> None:
    for words in (
        ("train", "trainer=gpu"),
        ("evaluate", "ckpt_path=run", "trainer.accelerator=gpu"),
    ):
        code, _, err = run(*words)
        assert (code, err.count("\n")) == (1, 1)
        assert err.startswith(
            "error: trainer.accelerator must be cpu or auto on this machine: PyTorc"
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scheme=rk4"], "only python train.py has the group scheme; write sweep.scheme=[rk4]"),
        (["model=resnet"], "python evaluate.py takes the model from the checkpoint"),
        (["dataset=cifar10"], "of its keys only some, such as dataset.root=..."),
        (["sweep.budget=latency<=0.5x"], """twice: 'sweep.budget="latency<=0.5x"'"""),
    ],
)
def test_a_choice_that_only_training_has_is_answered(
    words: list[str], message: str, run: Run, tmp_path: Path
) -> None:
    code, _, err = run("evaluate", "ckpt_path=run", *words)
    assert (code, err.count("\n")) == (1, 1)
    assert message in err
    assert list(tmp_path.rglob("*")) == []


def test_words_that_ask_for_nothing_wrong_are_accepted() -> None:
    for words in ("", "epochs=5", "--cfg job", "-m seed=1,2", "model.alpha=-1", "-h", "~logger"):
        check_words("train", words.split())


def test_the_flags_of_hydra_may_be_shortened(run: Run) -> None:
    for words in (["-cjob"], ["--cfg=job"], ["--cfg", "job"], ["--cf", "job"]):
        code, out, err = run("train", *words)
        assert (code, err) == (0, "")
        assert "ContinuousNet" in out


def test_a_scheme_that_no_block_uses_is_told(run: Run) -> None:
    small = ("model=resnet", "model.alpha=1", "model.depth=8", "debug=fast")
    _, out, err = run("train", *small, "scheme=rk4")
    assert "scheme=rk4 changes nothing: this network has no ODE blocks" in out + err
