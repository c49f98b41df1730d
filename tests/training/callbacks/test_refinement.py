"""Refinement while training: its schedule, the optimizer, the noise, the learning rate."""

import copy
import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.strategies import FSDPStrategy
from torch import Tensor, nn

from contnet import ContinuousNet
from contnet.training.callbacks.refinement import perturb, unsupported
from contnet.training.optimizer import carry_state
from tests.conftest import Run
from tests.outcomes import metrics


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
    carry_state(optimizer, network, network.refine(), carry=True)
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
    carry_state(optimizer, network, network.refine(), carry=True)

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
    carry_state(optimizer, network, network.refine(), carry=False)
    assert len(optimizer.state) == 0
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert [len(group["params"]) for group in optimizer.param_groups] == [
        sum(p.ndim > 1 for p in network.parameters()),
        sum(p.ndim <= 1 for p in network.parameters()),
    ]
    assert all(p.ndim > 1 for p in optimizer.param_groups[0]["params"])


def test_noise_multiplies_the_convolutions_of_nodes_alone_and_follows_from_its_seed() -> None:
    network = ContinuousNet(alpha=16)
    network.refine()
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(2.0)
    again = copy.deepcopy(network)
    perturb(network.blocks, 0.1, torch.Generator().manual_seed(5))
    perturb(again.blocks, 0.1, torch.Generator().manual_seed(5))
    for (name, p), other in zip(network.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(p, other)
        if ".nodes." in name and ".conv" in name:
            assert (p == 2).sum() == 0
        else:
            assert torch.equal(p, torch.full_like(p, 2)), name
    weights = network.blocks[2].nodes[1].conv1.weight / 2
    assert weights.mean().item() == pytest.approx(1, abs=3e-3)
    assert weights.std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    "lr_schedule",
    [
        pytest.param("multistep", marks=pytest.mark.long),
        pytest.param("cosine", marks=pytest.mark.long),
        pytest.param("onecycle", marks=pytest.mark.long),
    ],
)
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
        run("evaluate", "ckpt_path=run", "sweep.convergence=false", "hydra.run.dir=evaluation")[0]
        == 0
    )
    with Path("evaluation/invariance.csv").open() as file:
        row = next(csv.DictReader(file))
    assert row["n_time_steps"] == "4"
    assert f'"test_accuracy": {row["accuracy"]}' in Path("run/result.json").read_text()


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
