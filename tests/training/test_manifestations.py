"""Training for a set of manifestations, one of which is drawn for each batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from contnet import SCHEMES, ContinuousNet
from contnet.data.normalise import Normalise
from contnet.ode.bases import BASES
from contnet.ode.depth_time import DepthTime, depth_time
from contnet.ode.manifestation import Manifestation
from contnet.training import compilation
from contnet.training.classifier import Classifier
from contnet.training.manifestations import RandomManifestations, cheapest, finest
from tests.conftest import Run
from tests.networks.two_blocks import TwoBlocks
from tests.outcomes import LAST, assert_same_end, load, metrics, result
from tests.processes import train

MEMBERS = [Manifestation(SCHEMES["euler"], n) for n in (1, 2, 4)]
MEMBERS += [Manifestation(SCHEMES["rk4_classic"], n) for n in (1, 2)]


def random(draw: str = "uniform", seed: int = 0, single_steps: float = 1.0) -> RandomManifestations:
    return RandomManifestations(MEMBERS, draw, seed, single_steps)


def test_a_draw_is_a_function_of_seed_epoch_and_batch() -> None:
    drawn = [random().drawn(epoch, batch, 1) for epoch in range(2) for batch in range(20)]
    again = [random().drawn(epoch, batch, 1) for epoch in range(2) for batch in range(20)]
    assert drawn == again
    assert drawn[:20] != drawn[20:]
    assert drawn != [random(seed=1).drawn(e, b, 1) for e in range(2) for b in range(20)]


@pytest.mark.parametrize(
    ("draw", "single_steps", "weights"),
    [
        ("uniform", 1, [1, 1, 1, 1, 1]),
        ("uniform", 0.5, [1 / 2, 1, 1, 1 / 2, 1]),
        ("inverse_cost", 1, [1, 1 / 2, 1 / 4, 1 / 4, 1 / 8]),
        ("inverse_cost", 2, [2, 1 / 2, 1 / 4, 1 / 2, 1 / 8]),
    ],
)
def test_manifestations_are_drawn_as_often_as_their_cost_and_their_steps_say(
    draw: str, single_steps: float, weights: list[float]
) -> None:
    expected = torch.tensor(weights, dtype=torch.float64)
    expected /= expected.sum()
    made = random(draw, single_steps=single_steps)
    torch.testing.assert_close(made.probabilities, expected)
    n_draws = 2000
    drawn = [made.drawn(0, batch, 1) for batch in range(n_draws)]
    counts = torch.tensor([drawn.count(member) for member in MEMBERS], dtype=torch.float64)
    deviations = (expected * (1 - expected) / n_draws).sqrt()
    assert ((counts / n_draws - expected).abs() < 4 * deviations).all()


def test_a_refinement_multiplies_the_steps_of_every_manifestation() -> None:
    members = random().members(refined_by=4)
    assert [one.n_time_steps for one in members] == [4, 8, 16, 4, 8]
    assert (cheapest(members), finest(members)) == (members[0], members[-1])


def classifier(network: nn.Module, manifestations: RandomManifestations | None) -> Classifier:
    made = Classifier(
        network,
        Normalise((0.5,) * 3, (0.2,) * 3),
        "0123456789",
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        {},
        manifestations=manifestations,
    )
    made.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    return made


def batch() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8), torch.arange(4)


def depth_of(network: nn.Module) -> DepthTime:
    depth = depth_time(network)
    assert depth is not None
    return depth


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("kind", [ContinuousNet, TwoBlocks])
def test_the_gradient_is_that_of_the_drawn_manifestation(
    kind: type, basis: str, gradient: str
) -> None:
    options: dict[str, Any] = {"basis": basis, "gradient": gradient}
    options |= {"alpha": 2, "initial_time_d": 2} if kind is ContinuousNet else {"n_basis": 2}
    network = kind(in_channels=3, num_classes=10, **options)
    made = classifier(network, random())
    images, labels = batch()
    drawn = set()
    for number in range(4):
        network.zero_grad()
        made.training_step((images, labels), number).backward()
        gradients = [p.grad for p in network.parameters()]
        network.zero_grad()
        member = random().drawn(0, number, 1)
        drawn.add(member)
        with depth_of(network).manifested(member):
            logits = network(made.normalise(images))
        nn.functional.cross_entropy(logits, labels).backward()
        for found, parameter in zip(gradients, network.parameters(), strict=True):
            assert found is not None  # that of a node which is not looked up is 0
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert torch.equal(found, expected)
        assert depth_of(network).manifestation == Manifestation(SCHEMES["euler"], 2)
    assert len(drawn) > 1


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compilations_are_as_many_for_five_manifestations_as_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = []
    for n_members in (1, 5):
        network, reference = (ContinuousNet(alpha=2, initial_time_d=2) for _ in range(2))
        reference.load_state_dict(network.state_dict())
        counter = CompileCounter()
        monkeypatch.setattr(compilation, "how_to_compile", lambda *_, c=counter: {"backend": c})
        compilation.compile_network(network, torch.device("cpu"), 1, in_parts=True)
        x = torch.randn(4, 3, 8, 8)
        for member in MEMBERS[-n_members:]:
            for made in (network, reference):
                with depth_of(made).manifested(member):
                    made(x).sum().backward()
        for a, b in zip(network.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad)
        counts.append(counter.frame_count)
    assert counts[0] == counts[1] > 0


SET = (
    "manifestations=random",
    "manifestations.schemes=[euler,midpoint]",
    "manifestations.n_time_steps=[1,2]",
    "model.alpha=2",
    "model.initial_time_d=2",
    "dataset.batch_size=128",
)


def test_a_run_shows_the_accuracy_in_every_manifestation(run: Run) -> None:
    options = (*SET, "epochs=2", "refine.epochs=[1]", "callbacks.best.monitor=val_accuracy_min")
    code, out, err = run("train", *options, "hydra.run.dir=run")
    assert code == 0, err
    found = result("run")
    members = [f"{scheme}_{n}" for scheme in ("euler", "midpoint") for n in (2, 4)]
    assert found["test_accuracy"] == found["test_accuracy_euler_4"]
    for member in members:
        shown = f"{100 * found[f'test_accuracy_{member}']:.2f} %"
        assert any(member in row and shown in row for row in out.splitlines())
    names = [f"val_accuracy{end}" for end in ("", "_cheapest", "_finest", "_mean", "_min")]
    for row in metrics("run", names):
        home, low, high, mean, least = (float(row[name]) for name in names)
        assert mean == pytest.approx((home + low + high) / 3)
        assert least == min(home, low, high)
    record = load(Path("run") / LAST)["contnet"]
    assert [tuple(one.values()) for one in record["manifestations"]] == [
        ("euler", 2),
        ("euler", 4),
        ("midpoint", 2),
        ("midpoint", 4),
    ]
    assert (Path("run") / "checkpoints" / "best.ckpt").exists()


@pytest.mark.parametrize(
    ("name", "code", "callbacks"),
    [
        pytest.param("SIGKILL", -9, "default", marks=pytest.mark.long),
        pytest.param("SIGTERM", 75, "ema", marks=pytest.mark.long),
    ],
)
def test_a_stopped_run_draws_on_and_ends_as_the_one_that_was_not(
    tmp_path: Path, name: str, code: int, callbacks: str
) -> None:
    options = (*SET, "epochs=3", f"callbacks={callbacks}", "manifestations.draw=inverse_cost")
    if callbacks == "default":
        options += ("refine.epochs=[2]",)
    assert train(*options, "hydra.run.dir=through", folder=tmp_path).returncode == 0
    stop = f"stop_at_batch:1:4:{name}"
    assert train(*options, "hydra.run.dir=run", folder=tmp_path, fault=stop).returncode == code
    resumed = train("ckpt_path=last", "hydra.run.dir=run", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_end(tmp_path / "through", tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["manifestations.draw=often"], "manifestations.draw must be one of uniform, inverse_cost"),
        (["manifestations.single_steps=0"], "manifestations.single_steps must be a number greater"),
        (["manifestations.schemes=[dopri5]"], "manifestations.schemes must be one of euler"),
        (["manifestations.n_time_steps=[0]"], "manifestations.n_time_steps must be a whole number"),
        (["manifestations.n_time_steps=[]"], "manifestations.n_time_steps must be a list"),
        (["manifestations.pairs=[[euler]]"], "manifestations.pairs must be a list of pairs"),
        (["model=resnet"], "manifestations must be trained for ResNet"),
        (
            ["manifestations.n_time_steps=[4096]", "refine.epochs=[1]"],
            "manifestations.n_time_steps and refine.epochs must lead to at most 4096",
        ),
        (
            ["manifestations.schemes=[euler]", "scheme.gradient=adjoint", "model.initial_time_d=2"],
            "manifestations.n_time_steps must be a multiple of n_basis for gradient=adjoint, got 1",
        ),
        (
            ["manifestations=trained", "manifestations.schemes=[euler]"],
            "manifestations.n_time_steps must be a list",
        ),
    ],
)
def test_what_cannot_be_drawn_from_is_named(run: Run, overrides: list[str], message: str) -> None:
    code, _, err = run("train", "manifestations=random", *overrides)
    assert code == 1
    assert message in err
    assert len(err.strip().splitlines()) == 1
