"""Refinement: the function is kept, the optimizer goes on, and a run may be killed and resumed at any point of it."""

import copy
import csv
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.strategies import FSDPStrategy
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from contnet import SCHEMES, ContinuousNet, ODEBlock, Scheme
from contnet.ode.depth_time import depth_time
from contnet.training.callbacks.refinement import DepthRefinement, hand_down, perturb, unsupported
from tests.conftest import Run
from tests.problems import Linear, slope
from tests.processes import ROOT, assert_same, metrics, script


class SmoothRate(nn.Module):
    """R(x) = tanh(A x), nowhere kinked."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = Linear()

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x))


def schedule(*epochs: int, n_epochs: int = 120) -> DepthRefinement:
    return DepthRefinement(epochs, n_epochs, 0.0, "carry", seed=0, probe=None, probe_name="probe")


@pytest.mark.parametrize(
    "options", [{}, {"activation_before_conv": True}, {"use_skipinit": True}], ids=str
)
def test_refining_at_the_same_number_of_steps_changes_no_bit_of_the_logits(options: dict) -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2, n_time_steps_per=2, **options)
    x = torch.randn(8, 3, 16, 16)
    network(x)  # running statistics that are not the initial ones
    network.eval()
    before = network(x)
    network.refine()
    assert (depth_time(network).n_basis, depth_time(network).n_time_steps) == (4, 8)
    network.set_manifestation(n_time_steps=4)
    assert torch.equal(network(x), before)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_with_twice_the_steps_the_change_falls_at_the_schemes_order(scheme: Scheme) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    block = ODEBlock(SmoothRate, n_basis=2, scheme=scheme, epsilon=2.0)
    refined = copy.deepcopy(block)
    refined.refine()

    def change(n: int) -> float:
        block.set_manifestation(n_time_steps=n)
        refined.set_manifestation(n_time_steps=2 * n)
        return (refined(x) - block(x)).norm().item()

    assert slope(change, [32, 64, 128, 256]) == pytest.approx(scheme.order, abs=0.2)


def test_children_have_their_parents_weights_statistics_and_scalars() -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2, use_skipinit=True)
    network(torch.randn(4, 3, 8, 8))
    parents = [
        [copy.deepcopy(node.state_dict()) for node in block.nodes] for block in network.blocks
    ]
    others = copy.deepcopy([network.stem, network.stitches, network.head])
    network.refine()
    for block, old in zip(network.blocks, parents, strict=True):
        for k, node in enumerate(block.nodes):
            for name, value in node.state_dict().items():
                assert torch.equal(value, old[k // 2][name]), name
    for module, old in zip([network.stem, network.stitches, network.head], others, strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(module.parameters(), old.parameters(), strict=True)
        )
    storages = [parameter.data_ptr() for parameter in network.parameters()]
    assert len(set(storages)) == len(storages)


def test_the_number_of_refinements_is_a_function_of_the_epoch() -> None:
    refinement = schedule(30, 50, 70)
    assert [refinement.n_due(epoch) for epoch in (0, 29, 30, 49, 50, 69, 70, 119)] == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]


def train_one_step(network: ContinuousNet, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(x), torch.arange(len(x)) % 10).backward()
    optimizer.step()


@pytest.mark.parametrize("optimizer_type", [torch.optim.SGD, torch.optim.AdamW])
def test_every_child_inherits_its_parents_optimizer_state(optimizer_type: type) -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2)
    options = {"momentum": 0.9} if optimizer_type is torch.optim.SGD else {}
    optimizer = optimizer_type(network.parameters(), lr=0.01, **options)
    train_one_step(network, optimizer, torch.randn(8, 3, 8, 8))
    parents = {
        (b, k): [copy.deepcopy(optimizer.state[p]) for p in node.parameters()]
        for b, block in enumerate(network.blocks)
        for k, node in enumerate(block.nodes)
    }
    hand_down(optimizer, network, network.refine(), carry=True)
    for b, block in enumerate(network.blocks):
        for k, node in enumerate(block.nodes):
            for parameter, state in zip(node.parameters(), parents[b, k // 2], strict=True):
                assert optimizer.state[parameter].keys() == state.keys()
                for name, value in state.items():
                    assert torch.equal(optimizer.state[parameter][name], value)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [
        id(p) for p in network.parameters()
    ]


def test_the_step_after_a_refinement_is_the_one_computed_by_hand() -> None:
    """SGD with momentum and weight decay, written out for the refined network and its gradients."""
    lr, momentum, decay = 0.1, 0.9, 1e-2
    network = ContinuousNet(alpha=4, batch_norm=False).double()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    x = torch.randn(8, 3, 8, 8, dtype=torch.float64)
    train_one_step(network, optimizer, x)
    buffers = {
        name: optimizer.state[p]["momentum_buffer"].clone()
        for name, p in network.named_parameters()
    }
    hand_down(optimizer, network, network.refine(), carry=True)

    by_hand = copy.deepcopy(network)
    by_hand.zero_grad()
    nn.functional.cross_entropy(by_hand(x), torch.arange(8)).backward()
    expected = {}
    for name, p in by_hand.named_parameters():
        velocity = momentum * buffers[name.replace("nodes.1", "nodes.0")] + p.grad + decay * p.data
        expected[name] = p.data - lr * velocity
    train_one_step(network, optimizer, x)
    for name, p in network.named_parameters():
        torch.testing.assert_close(p.data, expected[name], rtol=1e-12, atol=1e-12)


def test_reset_drops_all_state_and_groups_keep_their_options() -> None:
    network = ContinuousNet(alpha=4)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    train_one_step(network, optimizer, torch.randn(8, 3, 8, 8))
    hand_down(optimizer, network, network.refine(), carry=False)
    assert len(optimizer.state) == 0
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert [len(group["params"]) for group in optimizer.param_groups] == [
        sum(p.ndim > 1 for p in network.parameters()),
        sum(p.ndim <= 1 for p in network.parameters()),
    ]
    assert all(p.ndim > 1 for p in optimizer.param_groups[0]["params"])


def test_the_noise_is_multiplicative_on_convolutions_of_nodes_alone_and_follows_from_its_seed() -> (
    None
):
    network = ContinuousNet(alpha=16)
    network.refine()
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(2.0)
    again = copy.deepcopy(network)
    perturb(network, 0.1, torch.Generator().manual_seed(5))
    perturb(again, 0.1, torch.Generator().manual_seed(5))
    for (name, p), other in zip(network.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(p, other)
        if ".nodes." in name and ".conv" in name:
            assert (p == 2).sum() == 0
        else:
            assert torch.equal(p, torch.full_like(p, 2)), name
    weights = network.blocks[2].nodes[1].conv1.weight / 2
    assert weights.mean().item() == pytest.approx(1, abs=3e-3)
    assert weights.std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("lr_schedule", ["multistep", "cosine", "onecycle"])
def test_the_learning_rate_goes_on_as_without_refinement(run: Run, lr_schedule: str) -> None:
    common = ("epochs=4", "model.alpha=2", f"lr_schedule={lr_schedule}", "dataset.val_size=0")
    if lr_schedule == "multistep":
        common += ("lr_schedule.milestones=[2]",)
    for name, refine in (("plain", "[]"), ("refined", "[1,2]")):
        assert run("train", *common, f"refine.epochs={refine}", f"hydra.run.dir={name}")[0] == 0
    assert metrics("plain", ["lr"]) == metrics("refined", ["lr"])


def test_a_refinement_is_told_and_the_checkpoint_evaluates_at_its_own_depth(run: Run) -> None:
    options = ("epochs=3", "model.alpha=4", "refine.epochs=[1,2]", "refine.variance=0.1")
    code, out, _ = run("train", *options, "scheme=rk4_classic", "hydra.run.dir=run")
    assert code == 0
    told = [line for line in out.splitlines() if "refined" in line]
    assert len(told) == 2
    assert told[0].startswith(
        "epoch 1: refined 1-1-1 -> 2-2-2, 11,382 -> 17,598 parameters, validation 0."
    )
    assert told[1].startswith(
        "epoch 2: refined 2-2-2 -> 4-4-4, 17,598 -> 30,030 parameters, validation 0."
    )
    assert [float(row["depth"]) for row in metrics("run", ["depth"])] == [1, 2, 4]
    assert (
        run("evaluate", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=evaluation")[0] == 0
    )
    with Path("evaluation/invariance.csv").open() as file:
        row = next(csv.DictReader(file))
    assert row["n_time_steps"] == "4"
    assert f'"test_accuracy": {row["accuracy"]}' in Path("run/result.json").read_text()


BITWISE = (
    "epochs=4",
    "model.alpha=4",
    "refine.epochs=[2]",
    "refine.variance=0.1",
    "lr_schedule.milestones=[2,3]",
)


def kill_at(epoch: int, batch: int) -> str:
    return f"""
import os, signal
from contnet.training.callbacks.throughput import Throughput
original = Throughput.on_train_batch_end
def deadly(self, trainer, pl_module, outputs, batch, batch_idx):
    original(self, trainer, pl_module, outputs, batch, batch_idx)
    if (trainer.current_epoch, batch_idx) == ({epoch}, {batch}):
        os.kill(os.getpid(), signal.SIGKILL)
Throughput.on_train_batch_end = deadly
"""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert script("", *BITWISE, "hydra.run.dir=run", folder=folder).returncode == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("epoch", "batch"), [(1, 3), (2, 3), (3, 3)], ids=["before", "during", "after"]
)
def test_a_run_killed_around_a_refinement_resumes_to_the_same_end_bit_for_bit(
    uninterrupted: Path, tmp_path: Path, epoch: int, batch: int
) -> None:
    killed = script(kill_at(epoch, batch), *BITWISE, "hydra.run.dir=killed", folder=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    resume = "ckpt_path=killed/checkpoints/last.ckpt"
    resumed = script("", *BITWISE, resume, "hydra.run.dir=resumed", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr

    ends = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (uninterrupted, tmp_path / "resumed")
    ]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_same(ends[0][key], ends[1][key], key)
    names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "depth"]
    logged = metrics(uninterrupted, names)
    assert (
        metrics(tmp_path / "resumed", names) == logged[epoch - 1 :]
    )  # from the epoch that the checkpoint has finished


@pytest.mark.parametrize("basis", ["piecewise_linear", "continuous_linear", "legendre"])
def test_a_run_in_any_basis_refines_and_goes_on_bit_for_bit(run: Run, basis: str) -> None:
    options = (
        "model.alpha=4",
        "refine.epochs=[1]",
        f"model.basis={basis}",
        "model.initial_time_d=2",
    )
    options += ("optimizer.lr=0.02", "lr_schedule.milestones=[2]")
    assert run("train", *options, "epochs=3", "hydra.run.dir=whole")[0] == 0
    assert run("train", *options, "epochs=2", "hydra.run.dir=begun")[0] == 0
    code, out, _ = run(
        "train", *options, "epochs=3", "ckpt_path=begun/checkpoints/last.ckpt", "hydra.run.dir=rest"
    )
    assert (code, "refined" in out) == (0, False)
    whole, rest = (
        torch.load(f"{name}/checkpoints/last.ckpt", weights_only=True) for name in ("whole", "rest")
    )
    assert whole["contnet"]["depth"]["n_basis"] == {"continuous_linear": 3}.get(basis, 4)
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(whole[key], rest[key], key)


def test_a_run_refines_once_for_each_epoch_of_the_schedule_whatever_it_was_in_between(
    run: Run,
) -> None:
    options = ("model.alpha=2", "ckpt_path=last", "hydra.run.dir=run")
    assert (
        run("train", "model.alpha=2", "epochs=2", "refine.epochs=[1]", "hydra.run.dir=run")[0] == 0
    )
    for epochs, schedule in ((3, "[]"), (4, "[1]")):
        code, out, _ = run("train", *options, f"epochs={epochs}", f"refine.epochs={schedule}")
        assert (code, "refined" in out) == (0, False)
    assert json.loads(Path("run/result.json").read_text())["n_basis"] == 2


def test_a_refined_run_goes_on_with_other_steps_but_in_no_other_basis(run: Run) -> None:
    go_on = ("ckpt_path=last", "hydra.run.dir=run", "epochs=3")
    assert (
        run("train", "model.alpha=2", "epochs=2", "refine.epochs=[1]", "hydra.run.dir=run")[0] == 0
    )
    code, _, err = run("train", *go_on, "model.basis=legendre")
    assert (code, err.count("\n")) == (1, 1)
    assert (
        "model.basis must be piecewise_constant, as of the run that ckpt_path is of, got legendre; "
        in err
    )
    assert run("train", *go_on, "scheme.n_time_steps_per=2")[0] == 0
    result = json.loads(Path("run/result.json").read_text())
    assert (result["basis"], result["n_basis"], result["n_time_steps"]) == (
        "piecewise_constant",
        2,
        4,
    )


KEEP_RANKS = """
import contnet.commands.result, torch
from torch import distributed
def keep(config, network, *rest):
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    torch.save(network.state_dict(), f"{config.run_dir}/rank{rank}.pt")
    return {}
contnet.commands.result.training = keep
"""


def ranks(tmp_path: Path, *overrides: str) -> dict[str, dict[str, Tensor]]:
    """Final weights of one process, and of both of two that share the same global batches."""
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{KEEP_RANKS}\nimport train; train.main()"
    )
    common = (
        "epochs=3",
        "model.alpha=4",
        "refine.epochs=[1]",
        "refine.variance=0.1",
        "optimizer.lr=0.02",
        *overrides,
    )
    common += (
        "trainer.accelerator=cpu",
        "trainer.limit_train_batches=8",
        "trainer.precision=64-true",
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    for name, more in (
        ("one", ("dataset.batch_size=64",)),
        ("two", ("dataset.batch_size=32", "trainer.strategy=ddp", "trainer.devices=2")),
    ):
        command = [sys.executable, str(driver), *common, *more, f"hydra.run.dir={name}"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return {file: torch.load(tmp_path / f"{file}.pt", weights_only=True) for file in RANKS}


RANKS = ("one/rank0", "two/rank0", "two/rank1")


@pytest.mark.parametrize("basis", ["piecewise_constant", "legendre"])
def test_two_processes_refine_alike_and_as_one_process_does(tmp_path: Path, basis: str) -> None:
    one, first, second = ranks(tmp_path, "model.batch_norm=false", f"model.basis={basis}").values()
    assert len([name for name in first if name.endswith("nodes.1.conv1.weight")]) == 3
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-5)


def test_two_processes_with_batch_norms_of_their_own_keep_equal_weights(tmp_path: Path) -> None:
    _, first, second = ranks(tmp_path, "model.batch_norm=true").values()
    assert len([name for name in first if name.endswith("nodes.1.bn1.weight")]) == 3
    for name, value in first.items():
        if "running" not in name:
            assert torch.equal(value, second[name]), name


def test_a_network_is_compiled_once_for_each_depth(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: not again for the last, smaller batch of an epoch, nor for validation and testing."""
    counter = CompileCounter()
    compile_module = ContinuousNet.compile
    monkeypatch.setattr(
        ContinuousNet, "compile", lambda self, **options: compile_module(self, backend=counter)
    )
    code, _, _ = run("train", "epochs=3", "model.alpha=2", "refine.epochs=[1,2]", "compile=true")
    assert code == 0
    assert counter.frame_count == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["refine.epochs=[5]", "epochs=5"],
            "refine.epochs must lie before the end of the run at 5, got 5",
        ),
        (
            ["refine.epochs=[2,2]"],
            "refine.epochs must be in increasing order and without repetition, got [2, 2]",
        ),
        (
            ["refine.epochs=[3,2]"],
            "refine.epochs must be in increasing order and without repetition, got [3, 2]",
        ),
        (["refine.epochs=[0]"], "refine.epochs must be a whole number of at least 1, got 0"),
        (["refine.epochs=3"], "refine.epochs must be a list of epochs, got 3"),
        (
            ["refine.epochs=[3]", "refine.variance=-1"],
            "refine.variance must be a number at least 0, got -1",
        ),
        (
            ["refine.epochs=[3]", "refine.optimizer_state=keep"],
            "refine.optimizer_state must be one of carry, reset;",
        ),
        (
            ["refine.epochs=[3]", "trainer.strategy=fsdp", "trainer.accelerator=cpu"],
            "trainer",
        ),
        (
            [
                "refine.epochs=[3]",
                "+callbacks.ema._target_=pytorch_lightning.callbacks.EMAWeightAveraging",
            ],
            "with refine.epochs callbacks must leave out EMAWeightAveraging",
        ),
    ],
)
def test_what_refinement_cannot_do_is_said_at_the_start(
    run: Run, tmp_path: Path, overrides: list[str], message: str
) -> None:
    code, _, err = run("train", *overrides)
    assert (code, err.count("\n")) == (1, 1)
    assert message in err
    assert not (tmp_path / "outputs").exists()


def test_strategies_and_optimizers_that_cannot_follow_are_named() -> None:
    parameters = [nn.Parameter(torch.zeros(1))]
    sgd, lbfgs = torch.optim.SGD(parameters, lr=1), torch.optim.LBFGS(parameters)
    plain = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    assert unsupported(plain, sgd) is None
    assert unsupported(plain, lbfgs).startswith("optimizer must be other than LBFGS")
    sharded = SimpleNamespace(strategy=FSDPStrategy(), callbacks=[])
    assert unsupported(sharded, sgd).startswith(
        "trainer.strategy must be auto or ddp: FSDPStrategy"
    )
    averaged = SimpleNamespace(strategy=plain.strategy, callbacks=[EMAWeightAveraging()])
    assert unsupported(averaged, sgd).startswith("callbacks must leave out EMAWeightAveraging")


def test_a_checkpoint_can_be_shallower_or_deeper_than_the_network_that_takes_it() -> None:
    deep, shallow = (
        ContinuousNet(alpha=4, initial_time_d=4, n_time_steps_per=3),
        ContinuousNet(alpha=4),
    )
    for target, source in itertools.permutations((deep, shallow)):
        weights = copy.deepcopy(source.state_dict())
        taker = copy.deepcopy(target)
        depth_time(taker).resize(depth_time(source).depths)
        taker.load_state_dict(weights)
        assert (depth_time(taker).n_basis, depth_time(taker).n_time_steps) == (
            depth_time(source).n_basis,
            depth_time(source).n_time_steps,
        )
