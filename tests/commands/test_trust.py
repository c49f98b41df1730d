"""What a checkpoint and the record of a folder may have built, with and without the user's word."""

from pathlib import Path

import pytest
import torch
import yaml

from contnet.commands.recorded import obstacle_of
from tests.conftest import Run
from tests.outcomes import LAST, load, result, rows

OWN = """
import os

from torch import nn
from torch.optim import SGD

from contnet import ODEBlock


class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.block = ODEBlock(lambda: nn.Conv2d(4, 4, 3, padding=1), n_basis=2)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))
"""


@pytest.fixture
def own_run(run: Run, tmp_path: Path) -> Path:
    """Return the checkpoint of a run of a class of the user's own, in mynet.py."""
    (tmp_path / "mynet.py").write_text(OWN)
    options = ("model=own", "model._target_=mynet.Net", "epochs=1", "hydra.run.dir=run")
    assert run("train", *options)[0] == 0
    return Path("run", LAST)


def edited(path: Path, **changes: object) -> Path:
    """Save a checkpoint whose recorded configuration has other values at dotted keys."""
    checkpoint = load(path)
    for key, value in changes.items():
        *groups, name = key.split(".")
        node = checkpoint["contnet"]["config"]
        for group in groups:
            node = node[group]
        node[name] = value
    torch.save(checkpoint, "edited.ckpt")
    return Path("edited.ckpt")


def test_an_own_class_is_evaluated_with_the_word_that_the_refusal_asks_for(
    run: Run, own_run: Path
) -> None:
    code, _, err = run("evaluate", f"ckpt_path={own_run}")
    assert (code, err.count("\n")) == (1, 1)
    assert "names 'mynet.Net' as its model._target_, which no checkpoint may build" in err
    assert "add 'trust=[mynet]'" in err
    assert run("evaluate", f"ckpt_path={own_run}", "trust=[mynet]", "hydra.run.dir=study")[0] == 0
    (row,) = rows("study/invariance.csv")
    assert float(row["accuracy"]) == result("run")["test_accuracy"]


def test_trust_in_a_module_does_not_reach_what_the_module_imports(run: Run, own_run: Path) -> None:
    for target in ("mynet.os.system", "mynet.SGD", "mynet.nn.Identity"):
        file = edited(own_run, **{"model._target_": target})
        code, _, err = run("evaluate", f"ckpt_path={file}", "trust=[mynet]")
        assert (code, err.count("\n")) == (1, 1)
        assert f"names {target!r} as its model._target_" in err


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        ("[nothing]", "trust must name modules that can be imported; nothing: ModuleNotFoundError"),
        ("[my-net]", "trust must be a list of modules, such as [mynet], got ['my-net']"),
        ("3", "trust must be a list of modules, such as [mynet], got 3"),
    ],
)
def test_trust_in_what_is_no_module_is_refused(
    run: Run, trained: Path, trust: str, message: str
) -> None:
    code, _, err = run("evaluate", "ckpt_path=run", f"trust={trust}")
    assert (code, err.count("\n")) == (1, 1)
    assert message in err


def test_trust_that_is_not_needed_changes_nothing(run: Run, trained: Path) -> None:
    quick = ("ckpt_path=run", "sweep.convergence=false")
    assert run("evaluate", *quick, "trust=[json]", "hydra.run.dir=with")[0] == 0
    assert run("evaluate", *quick, "hydra.run.dir=without")[0] == 0
    names = ("accuracy", "loss")
    tables = [rows(f"{folder}/invariance.csv") for folder in ("with", "without")]
    assert [[row[name] for name in names] for row in tables[0]] == [
        [row[name] for name in names] for row in tables[1]
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset._target_": "os.system"}, "names 'os.system' as its dataset._target_"),
        ({"model.rate": {"_target_": "os.getcwd"}}, "as its model.rate._target_"),
        ({"model.rate": [{"a": {"_target_": "os.getcwd"}}]}, "names 'os.getcwd' as its model"),
        ({"dataset.mean": ({"_target_": "os.getcwd"},)}, "dataset.mean must be a number, a string"),
        ({"model.scheme": None}, "contnet.config.model.scheme must be a string"),
        ({"model._target_": "contnet.data.digits"}, "as its model._target_"),
        ({"model._target_": "contnet.ode.block.ODEBlock"}, "as its model._target_"),
        ({"model._args_": [1]}, "has model._args_, which only a command line may have"),
        ({"run_dir": "${oc.env:HOME}"}, "contnet.config.run_dir must be a value"),
        ({"model.alpha": "${oc.env:HOME}"}, "contnet.config.model.alpha must be a value"),
        ({"model.initial_time_d": 10**9}, "model.initial_time_d must be a whole number"),
        ({"model.n_time_steps_per": 10**12}, "model.n_time_steps_per must be a whole number"),
        ({"model.alpha": 10**9}, "model: Storage size calculation overflowed"),
        ({"model.alpha": 10**6}, "the network that model and dataset describe"),
        ({"dataset.test_batch_size": 10**12}, "dataset.test_batch_size must be a whole number"),
        ({"trainer.precision": "transformer-engine"}, "trainer.precision must be one of"),
    ],
)
def test_a_record_that_asks_for_more_is_refused(
    run: Run, trained: Path, changes: dict[str, object], message: str
) -> None:
    file = edited(Path("run", LAST), **changes)
    code, _, err = run("evaluate", f"ckpt_path={file}")
    assert (code, err.count("\n")) == (1, 1)
    assert message in err
    assert not Path("outputs").exists()


def test_a_checkpoint_downloads_only_to_where_the_user_says(run: Run, trained: Path) -> None:
    cifar10 = {
        **load(Path("run", LAST))["contnet"]["config"]["dataset"],
        "_target_": "contnet.data.cifar10",
        "root": "elsewhere",
    }
    file = edited(Path("run", LAST), dataset=cifar10)
    code, _, err = run("evaluate", f"ckpt_path={file}")
    assert (code, err.count("\n")) == (1, 1)
    assert "dataset.root must be given: CIFAR10 is neither whole in 'elsewhere' nor" in err
    assert not Path("elsewhere").exists()


def test_a_run_that_is_resumed_downloads_nothing(run: Run, trained: Path) -> None:
    options = ("dataset=cifar10", "dataset.root=elsewhere", "model.alpha=2")
    code, _, err = run("train", f"ckpt_path={Path('run', LAST)}", *options)
    assert (code, err.count("\n")) == (1, 1)
    assert "dataset.root must be given: CIFAR10 is neither whole in 'elsewhere' nor" in err
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize(
    ("override", "obstacle"),
    [
        ("model._target_=os.getcwd", "names a class or function"),
        ("+callbacks.x={_target_:os.getcwd}", "names a class or function"),
        ("+model.rate={a:[{_target_:os.getcwd}]}", "names a class or function"),
        ("+dataset._args_=[1]", "has the word _args_ of Hydra's"),
        ("hydra.job.chdir=true", "changes Hydra itself"),
        ("hydra/launcher=joblib", "changes Hydra itself"),
        ("+hydra.callbacks.x.y=1", "changes Hydra itself"),
        ("--config-dir=own", "is no override"),
        ("-m", "is no override"),
        ("seed=1,2", "is no override of a single run"),
        ("run_dir=elsewhere", "says where a run reads or writes"),
        ("trainer.default_root_dir=elsewhere", "says where a run reads or writes"),
        ("logger.csv.path=canary", "says what is written or sent"),
        ("callbacks.best.dirpath=elsewhere", "says what is written or sent"),
        ("logger=wandb", "chooses where figures are sent"),
        ("seed=${oc.env:HOME}", "looks a value up elsewhere"),
        ("dataset=../../evil", "chooses an option outside the groups"),
        ("callbacks=[default,../evil]", "chooses an option outside the groups"),
        ("logger=[csv,wandb]", "chooses where figures are sent"),
        ("+experiment=/tmp/evil", "chooses an option outside the groups"),
        ("trainer.devices=100000", "asks for more processes than this machine has cores"),
        ("trainer.devices='100000'", "asks for more processes than this machine has cores"),
        ("trainer={devices:100000}", "asks for more processes than this machine has cores"),
        ("trainer.num_nodes=2", "waits for other machines"),
        ("+callbacks@hydra.callbacks=default", "changes Hydra itself"),
        ("+dataset.download=true", "says where a run reads or writes"),
        ("dataset.batch_size=1000000000000", "is too large: dataset.batch_size must be"),
        (f"+x={'[' * 500}", "is no override of a run"),
        (f"+x={'[' * 40}{']' * 40}", "is no override of a run"),
        (f"+x=[{'1,' * 100_000}1]"[:60_000], "is no override"),
    ],
)
def test_the_record_of_a_folder_only_sets_values(override: str, obstacle: str) -> None:
    found = obstacle_of(override)
    assert found is not None
    assert found.startswith(obstacle)


@pytest.mark.parametrize(
    "override",
    [
        "epochs=3",
        "model=continuous_net_act_first",
        "experiment=cifar10/resnet20",
        "refine.epochs=[1,2]",
        "+model.rate=null",
        "~callbacks.best",
        "callbacks=ema",
        "callbacks.ema.window=0.1",
        "logger=csv",
        "logger=[tensorboard,csv]",
        "dataset.root=/data/images",
        "trainer.devices=auto",
        "optimizer.betas=[0.9,0.99]",
        "scheme.rtol=1e-3",
    ],
)
def test_the_record_of_a_folder_sets_values(override: str) -> None:
    assert obstacle_of(override) is None


def test_a_folder_whose_record_asks_for_more_is_left_as_it_is(run: Run, trained: Path) -> None:
    record = trained / ".hydra" / "overrides.yaml"
    override = "+callbacks.x={_target_:os.getcwd}"
    record.write_text(yaml.safe_dump([*yaml.safe_load(record.read_text()), override]))
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    code, _, err = run("train", "ckpt_path=last", "hydra.run.dir=run", "epochs=2")
    assert (code, err.count("\n")) == (1, 1)
    assert f"has {override!r}, which names a class or function; if you want it, type it" in err
    assert before == {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}


def test_what_the_record_may_not_repeat_is_typed_again(run: Run, own_run: Path) -> None:
    resume = ("ckpt_path=last", "hydra.run.dir=run", "epochs=2")
    assert run("train", *resume)[0] == 1
    assert run("train", *resume, "model._target_=mynet.Net")[0] == 0
    assert run("train", *resume[:2], "epochs=3", "trust=[mynet]")[0] == 0
    assert result("run")["epochs"] == 3


@pytest.mark.parametrize("place", [".hydra/config.yaml", "metrics.csv", "train.log", "checkpoints"])
def test_a_folder_with_links_is_not_resumed(run: Run, trained: Path, place: str) -> None:
    outside = Path("outside")
    (trained / place).rename(outside)
    (trained / place).symlink_to(outside.absolute())
    code, _, err = run("train", "ckpt_path=last", "hydra.run.dir=run", "epochs=2")
    assert (code, err.count("\n")) == (1, 1)
    assert "is a link or a device" in err
