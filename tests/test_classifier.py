import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode

from contnet import SCHEMES, ContinuousNet
from contnet.data.normalise import Normalise
from contnet.errors import ConfigError
from contnet.ode.bases import BASES
from contnet.ode.depth_time import depth_time
from contnet.training.callbacks.averaging import ExponentialAverage
from contnet.training.classifier import Classifier
from contnet.training.optimizer import parameter_groups
from tests.conftest import Run
from tests.processes import assert_same


def test_norms_biases_and_factors_can_be_spared_weight_decay() -> None:
    network = ContinuousNet(alpha=4, use_skipinit=True)
    (everything,) = parameter_groups(network, decay_norm_and_bias=True)
    assert everything["params"] == list(network.parameters())
    decayed, others = parameter_groups(network, decay_norm_and_bias=False)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert all(
        names[id(p)].endswith("weight") and "bn" not in names[id(p)] for p in decayed["params"]
    )
    assert len(decayed["params"]) + len(others["params"]) == len(names)
    optimizer = torch.optim.SGD([decayed, others], lr=0.1, weight_decay=0.5)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter in decayed["params"]:
        assert torch.allclose(parameter, before[names[id(parameter)]] * 0.95)
    for parameter in others["params"]:
        assert torch.equal(parameter, before[names[id(parameter)]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_training_loss_is_smoothed_and_the_logged_one_is_not(smoothing: float) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    normalise = Normalise((0.5,), (0.2,))
    classifier = Classifier(network, normalise, "abc", None, None, {}, label_smoothing=smoothing)  # type: ignore[arg-type]
    images, labels = (
        torch.randint(0, 256, (5, 1, 2, 2), dtype=torch.uint8),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    classifier.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    loss = classifier.training_step((images, labels), 0)
    log_probabilities = network(normalise(images)).log_softmax(1)
    targets = torch.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    assert torch.allclose(loss, -(targets * log_probabilities).sum(1).mean())
    logged = classifier.scores["train_score"].loss.compute()
    assert torch.allclose(logged, nn.functional.cross_entropy(network(normalise(images)), labels))


class ValuesLookedAt(TorchDispatchMode):
    """Notes each operation whose outcome for the program depends on the values in a tensor: it waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize(
    ("scheme", "basis"),
    [*((s, "piecewise_constant") for s in SCHEMES), *(("rk4", basis) for basis in BASES)],
)
def test_a_training_step_never_waits_for_the_device(scheme: str, basis: str, gradient: str) -> None:
    network = ContinuousNet(
        alpha=2, initial_time_d=2, scheme=scheme, gradient=gradient, basis=basis
    )
    classifier = Classifier(
        network, Normalise((0.5,) * 3, (0.2,) * 3), "0123456789", None, None, {}
    )  # type: ignore[arg-type]
    classifier.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    images, labels = (
        torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8),
        torch.tensor([0, 1, 2, 9]),
    )
    with ValuesLookedAt() as watch, torch.autocast("cpu", torch.bfloat16):
        classifier.training_step((images, labels), 0).backward()
        optimizer.step()
    assert watch.seen == []
    with ValuesLookedAt() as watch:
        images.sum().item()
    assert watch.seen == ["aten._local_scalar_dense.default"]


def test_nodes_that_would_not_learn_are_refused_on_several_devices_which_would_wait_for_them() -> (
    None
):
    network = ContinuousNet(alpha=2, initial_time_d=3, basis="continuous_linear")
    classifier = Classifier(
        network, Normalise((0.5,) * 3, (0.2,) * 3), "0123456789", None, None, {}
    )  # type: ignore[arg-type]
    classifier._trainer = SimpleNamespace(world_size=2)  # type: ignore[assignment]
    assert depth_time(network).unvisited == []
    classifier.on_fit_start()
    network.set_manifestation(n_time_steps=2)
    assert depth_time(network).unvisited == [2]
    with pytest.raises(
        ConfigError, match=r"make use of all nodes .*; euler in 2 steps never looks up node 2"
    ):
        classifier.on_fit_start()


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # torch.compile looks at it
@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
def test_a_smaller_last_batch_passes_a_compiled_network_on_both_ways_without_compilation(
    run: Run, monkeypatch: pytest.MonkeyPatch, gradient: str
) -> None:
    counter = CompileCounter()
    compile_module = ContinuousNet.compile
    monkeypatch.setattr(
        ContinuousNet, "compile", lambda self, **options: compile_module(self, backend=counter)
    )
    frames = []
    for batch_size in (1293, 1000):  # all images; all but 293
        counter.frame_count = 0
        options = (
            "epochs=1",
            "model.alpha=2",
            f"dataset.batch_size={batch_size}",
            f"scheme.gradient={gradient}",
        )
        assert run("train", *options, "compile=true", f"hydra.run.dir={batch_size}")[0] == 0
        frames.append(counter.frame_count)
    assert frames[0] == frames[1] > 0


def test_the_averaged_weights_are_what_is_tested_kept_and_evaluated(run: Run) -> None:
    options = (
        "epochs=2",
        "model.alpha=2",
        "optimizer.lr=0.5",
        "callbacks=ema",
        "callbacks.ema.window=0.25",
    )
    assert run("train", *options, "hydra.run.dir=run")[0] == 0
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    name = "network.head.linear.weight"
    assert not torch.allclose(
        checkpoint["state_dict"][name], checkpoint["current_model_state"][name], rtol=1e-3
    )
    assert (
        run("evaluate", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=evaluation")[0] == 0
    )
    (evaluated,) = json.loads(Path("evaluation/invariance.json").read_text())
    trained = json.loads(Path("run/result.json").read_text())
    assert evaluated["rows"][0]["accuracy"] == trained["test_accuracy"]
    assert run("train", "ckpt_path=last", "hydra.run.dir=run")[0] == 0  # with nothing left to train
    resumed = json.loads(Path("run/result.json").read_text())
    assert (resumed["test_accuracy"], resumed["test_loss"]) == (
        trained["test_accuracy"],
        trained["test_loss"],
    )


def test_a_run_that_fails_while_the_average_is_validated_goes_on_from_the_epoch_before(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "epochs=2",
        "model.alpha=2",
        "optimizer.lr=0.5",
        "callbacks=ema",
        "callbacks.ema.window=0.25",
    )
    assert run("train", *options, "hydra.run.dir=through")[0] == 0
    original = Classifier.validation_step

    def fail(self: Classifier, batch: Any, batch_idx: int) -> None:
        original(self, batch, batch_idx)
        if self.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "validation_step", fail)
        assert run("train", *options, "hydra.run.dir=stopped")[0] != 0
    assert torch.load("stopped/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    assert run("train", "ckpt_path=last", "hydra.run.dir=stopped")[0] == 0
    through, stopped = (
        torch.load(f"{n}/checkpoints/last.ckpt", weights_only=True) for n in ("through", "stopped")
    )
    for key in ("state_dict", "current_model_state"):
        assert_same(stopped[key], through[key], key)


def test_a_resumed_run_goes_on_with_its_average_to_the_last_bit(run: Run) -> None:
    options = (
        "model.alpha=2",
        "callbacks=ema",
        "callbacks.ema.window=0.25",
        "lr_schedule.milestones=[3]",
    )
    as_many_steps = "callbacks.ema.window=0.375"  # of two epochs as 0.25 of three
    assert run("train", *options, "epochs=3", "hydra.run.dir=through")[0] == 0
    assert run("train", *options, "epochs=2", as_many_steps, "hydra.run.dir=stopped")[0] == 0
    resume = "ckpt_path=stopped/checkpoints/last.ckpt"
    code, _, err = run("train", *options, "epochs=3", resume, "hydra.run.dir=resumed")
    assert (code, err) == (0, "")
    through, resumed = (
        torch.load(f"{n}/checkpoints/last.ckpt", weights_only=True) for n in ("through", "resumed")
    )
    for key in ("state_dict", "current_model_state"):
        for name, value in through[key].items():
            assert torch.equal(value, resumed[key][name]), name


def test_the_average_of_weights_has_a_window_in_steps_of_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "network.head.linear.weight"
    weights = []

    def keep(
        self: ExponentialAverage, trainer: Trainer, classifier: Classifier, *batch: Any
    ) -> None:
        WeightAveraging.on_train_batch_end(self, trainer, classifier, *batch)
        weights.append(classifier.state_dict()[name].clone())

    monkeypatch.setattr(ExponentialAverage, "on_train_batch_end", keep)
    for epochs in (1, 2):
        weights.clear()
        options = (
            "model.alpha=2",
            "optimizer.lr=0.5",
            f"epochs={epochs}",
            f"hydra.run.dir={epochs}",
        )
        assert run("train", *options, "callbacks=ema", "callbacks.ema.window=0.25")[0] == 0
        expected = weights[0]
        for current in weights[1:]:
            expected = expected + (current - expected) / (0.25 * len(weights))
        averaged = torch.load(f"{epochs}/checkpoints/last.ckpt", weights_only=True)["state_dict"][
            name
        ]
        torch.testing.assert_close(averaged, expected)


def test_a_window_of_less_than_a_step_averages_nothing(run: Run) -> None:
    options = ("model.alpha=2", "epochs=1", "callbacks=ema", "callbacks.ema.window=1e-9")
    assert run("train", *options, "hydra.run.dir=run")[0] == 0
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert_same(checkpoint["state_dict"], checkpoint["current_model_state"], "ema")


@pytest.mark.parametrize("window", ["0", "1", "-0.1", "long"])
def test_a_window_that_is_no_share_is_refused(run: Run, window: str) -> None:
    code, _, err = run("train", "callbacks=ema", f"callbacks.ema.window={window}")
    assert (code, err.count("\n")) == (1, 1)
    assert "callbacks.ema.window must be a number greater than 0 and less than 1, got" in err


def test_refinement_and_an_average_that_cannot_follow_are_refused(run: Run) -> None:
    code, _, err = run("train", "callbacks=ema", "epochs=3", "refine.epochs=[1]")
    assert (code, err.count("\n")) == (1, 1)
    assert "with refine.epochs callbacks must leave out ExponentialAverage" in err
