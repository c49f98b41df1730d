import json
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from contnet import SCHEMES, ContinuousNet, ODEBlock, ResNet, Scheme
from contnet.invariance.budget import Budget
from contnet.invariance.convergence import asymptotic_slope, block_convergence, network_convergence
from contnet.invariance.manifestation import Manifestation, manifestations
from contnet.invariance.outcome import Batches, Outcome, observe
from contnet.invariance.recalibration import recalibrated
from contnet.invariance.report.pictures import pareto_front
from contnet.invariance.result import Figures, Result, measure
from contnet.invariance.store import Store
from contnet.invariance.study import Plan, Subject, study
from contnet.invariance.verdict import bootstrap_interval, judge
from contnet.ode.integrate import IntegrationError
from tests.conftest import Run
from tests.problems import Linear
from tests.processes import rows

EULER_2 = Manifestation(SCHEMES["euler"], 2)


# --- convergence


@pytest.mark.parametrize("n_basis", [1, 2])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_the_convergence_of_a_linear_ode_has_the_order_of_the_scheme(
    scheme: Scheme, n_basis: int
) -> None:
    block = ODEBlock(Linear, n_basis=n_basis)
    x = torch.randn(8, 4, dtype=torch.float64)
    (found,) = block_convergence(block, x, [scheme])
    assert found.slope == pytest.approx(scheme.order, abs=0.1)
    exact = x
    for node in block.nodes:
        exact = node.flow(exact, 1 / n_basis)
    for n, error in zip(found.n_time_steps, found.errors, strict=True):
        block.set_manifestation(scheme, n)
        with torch.no_grad():
            distance = torch.linalg.vector_norm(block(x) - exact) / torch.linalg.vector_norm(exact)
        assert error == pytest.approx(distance.item(), rel=1e-2)


def test_the_convergence_of_a_wrong_tableau_is_found_to_be_wrong() -> None:
    wrong = replace(SCHEMES["rk4_classic"])
    b = (
        Fraction(1, 6),
        Fraction(1, 3) + Fraction(1, 100),
        Fraction(1, 3),
        Fraction(1, 6) - Fraction(1, 100),
    )
    object.__setattr__(wrong, "b", b)  # past its own check
    (found,) = block_convergence(ODEBlock(Linear), torch.randn(8, 4), [wrong])
    assert found.slope is not None
    assert found.slope < 1.5


def test_the_asymptotic_range_is_the_finest_steps_on_one_line_above_rounding() -> None:
    n = [1, 2, 4, 8, 16]
    assert asymptotic_slope(n, [2.0**-i for i in range(5)]) == (pytest.approx(1), 1)
    assert asymptotic_slope(n, [9, 8, 1, 1 / 4, 1 / 16]) == (pytest.approx(2), 4)
    assert asymptotic_slope(n, [1, 1 / 16, 1 / 256, 1e-13, 1e-14]) == (pytest.approx(4), 1)
    assert asymptotic_slope(n, [1, 0.5, 0.1, 0.09, 0.001]) == (None, None)
    assert asymptotic_slope(n, [1, 0.5, float("nan"), float("inf"), 0]) == (None, None)


def test_the_convergence_of_a_network_is_that_of_each_block_on_the_states_that_reach_it() -> None:
    network = ContinuousNet(alpha=4, initial_time_d=2).eval()
    images = torch.randn(4, 3, 8, 8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = network_convergence(network, images, ["euler", "dopri5"])
    assert [(c.block, c.scheme, c.n_time_steps) for c in found] == [
        (block, "euler", [2, 4, 8, 16, 32, 64]) for block in (1, 2, 3)
    ]
    assert [c.slope for c in found] == pytest.approx([1, 1, 1], abs=0.1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        state = network.stitches[1](network.blocks[0](network.stitches[0](network.stem(images))))
    (second,) = block_convergence(network.blocks[1], state, [SCHEMES["euler"]])
    assert second.errors == pytest.approx(found[1].errors, rel=1e-3)


# --- outcomes and figures


def batches(images: Tensor, labels: Tensor, size: int) -> Batches:
    pairs = list(zip(images.split(size), labels.split(size), strict=True))
    return Batches(pairs, nn.Identity(), torch.device("cpu"))


def test_an_outcome_has_the_logits_of_all_images_and_counts_its_work() -> None:
    network = ContinuousNet(alpha=4, scheme="rk4_classic").eval()
    images, labels = torch.randn(10, 3, 8, 8), torch.arange(10)
    outcome = observe(network, batches(images, labels, 4))
    with torch.no_grad():
        assert torch.allclose(torch.cat(outcome.logits), network(images), atol=1e-6)
    assert torch.equal(outcome.labels, labels)
    assert (outcome.n_f_evals, outcome.batch_size, outcome.peak_memory) == (12, 4, None)
    # Multiply-adds of the convolutions, an evaluation of the rate being two of them; then the linear layer.
    rates = sum(4 * 2 * size**2 * 9 * channels**2 for size, channels in ((8, 4), (4, 8), (2, 16)))
    stem = 8**2 * 9 * 3 * 4
    stitches = sum(
        size**2 * (incoming * channels + 9 * incoming * channels + 9 * channels**2)
        for size, incoming, channels in ((8, 4, 4), (4, 4, 8), (2, 8, 16))
    )
    assert outcome.flops == 2 * (rates + stem + stitches + 16 * 10)
    assert outcome.latency > 0


def outcome_of(logits: Tensor, labels: Tensor) -> Outcome:
    return Outcome(tuple(logits.split(4)), labels, 6, 1e6, 1e-3, 4, None)


def test_the_figures_of_logits_are_those_counted_by_hand() -> None:
    logits, labels = torch.randn(10, 8), torch.randint(8, (10,))
    reference = logits + 0.5 * torch.randn(10, 8)
    blank = Result("a.ckpt", EULER_2, trained=False, recalibrated=False, parameters=1)
    measured = measure(blank, outcome_of(logits, labels), outcome_of(reference, labels))
    figures = measured.figures
    assert figures is not None
    assert figures.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    ranks = (logits > logits.gather(1, labels[:, None])).sum(1)
    assert figures.top5_accuracy == pytest.approx((ranks < 5).float().mean().item())
    assert figures.loss == pytest.approx(
        nn.functional.cross_entropy(logits, labels).item(), rel=1e-6
    )
    assert figures.same_prediction == pytest.approx(
        (logits.argmax(1) == reference.argmax(1)).float().mean().item()
    )
    assert figures.logit_distance == pytest.approx(
        ((logits - reference).norm() / reference.norm()).item(), rel=1e-6
    )
    confidence, predicted = logits.softmax(1).max(1)
    bins = (confidence * 15).long()
    gaps = [
        (confidence - (predicted == labels).float())[bins == i].sum().abs() / 10 for i in range(15)
    ]
    assert figures.calibration_error == pytest.approx(sum(gaps).item(), rel=1e-5)
    assert figures.latency_ms == 1
    assert measured.predictions is not None
    assert torch.equal(measured.predictions, logits.argmax(1))


def test_logits_that_are_not_finite_are_a_failure_and_no_figures() -> None:
    logits, labels = torch.full((4, 3), torch.nan), torch.zeros(4, dtype=torch.long)
    blank = Result("a.ckpt", EULER_2, trained=False, recalibrated=False, parameters=1)
    measured = measure(blank, outcome_of(logits, labels), outcome_of(torch.zeros(4, 3), labels))
    assert measured.failed == "the state grew beyond all bounds: its logits are not finite"
    assert measured.row()["accuracy"] is None


def test_manifestations_are_all_combinations_and_always_the_one_of_training() -> None:
    network = ContinuousNet(alpha=2, initial_time_d=2)
    found = manifestations(network, ["euler", "rk4", "dopri5"], [1, 4], [1e-2, 1e-3])
    assert list(map(str, found)) == [
        "euler, 2 steps",
        *(
            "euler, 1 step",
            "euler, 4 steps",
            "rk4, 1 step",
            "rk4, 4 steps",
            "dopri5, rtol 0.01",
            "dopri5, rtol 0.001",
        ),
    ]
    assert manifestations(network, None, None, None) == [EULER_2]
    assert list(map(str, manifestations(network, ["dopri5"], None, None)[1:])) == [
        "dopri5, rtol 0.0001"
    ]
    adaptive = ContinuousNet(alpha=2, initial_time_d=4, scheme="bosh3", rtol=1e-2)
    assert list(map(str, manifestations(adaptive, ["rk4"], None, None))) == [
        "bosh3, rtol 0.01",
        "rk4, 4 steps",
    ]
    assert manifestations(ResNet(depth=8), ["euler"], [1, 2], None) == [Manifestation(None)]


# --- verdict


def result(
    scheme: str, n: int | None, predictions: Tensor | None, n_f_evals: int = 6, **figures: float
) -> Result:
    known: dict[str, Any] = (
        dict.fromkeys(Figures.__dataclass_fields__, 0.0) | {"n_f_evals": n_f_evals} | figures
    )
    manifestation = Manifestation(SCHEMES[scheme], n)
    filled = None if predictions is None else Figures(**known)
    return Result("a.ckpt", manifestation, False, False, 1, figures=filled, predictions=predictions)


def test_the_verdict_is_the_largest_loss_among_finer_manifestations() -> None:
    labels = torch.zeros(1000, dtype=torch.long)

    def predictions(n_wrong: int) -> Tensor:
        return (torch.arange(1000) < n_wrong).long()

    trained = result("midpoint", 2, predictions(100))
    coarser = [result("midpoint", 1, predictions(900)), result("euler", 8, predictions(800))]
    finer = [result("midpoint", 4, predictions(104)), result("rk4", 2, predictions(151))]
    verdict = judge(trained, [trained, *coarser, *finer], labels, tolerance=1)
    assert (verdict.invariant, verdict.n_compared, verdict.worst) == (False, 2, "rk4, 2 steps")
    assert verdict.loss == pytest.approx(5.1)
    assert verdict.interval is not None
    low, high = verdict.interval
    deviation = 100 * (0.051 * (1 - 0.051) / 1000) ** 0.5
    assert (low, high) == (
        pytest.approx(5.1 - 1.96 * deviation, abs=0.2),
        pytest.approx(5.1 + 1.96 * deviation, abs=0.2),
    )
    assert (
        str(verdict)
        == f"not invariant: loses 5.1 pp at rk4, 2 steps (95 % interval {low:.1f} to {high:.1f})"
    )

    verdict = judge(trained, [trained, *coarser, finer[0]], labels, tolerance=1)
    assert str(verdict).startswith("invariant within 0.4 pp (95 % interval ")
    assert judge(trained, [trained, *coarser], labels, tolerance=1).invariant is None
    verdict = judge(trained, [trained, result("rk4", 4, None)], labels, tolerance=1)
    assert (verdict.invariant, verdict.loss) == (False, pytest.approx(90))


def test_a_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    samples = [
        generator.choice([-100.0, 0.0, 100.0], size=400, p=[0.02, 0.9, 0.08]) for _ in range(400)
    ]
    covered = [low <= 6.0 <= high for low, high in map(bootstrap_interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


# --- recalibration


def test_recalibrated_statistics_are_the_mean_over_batches_in_the_networks_manifestation_and_go_again() -> (
    None
):
    network = ContinuousNet(alpha=4, initial_time_d=2, scheme="midpoint").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = [torch.randn(16, 3, 8, 8) for _ in range(3)]
    with recalibrated(network, images):
        stem = network.stem[1]
        convolved = [network.stem[0](batch) for batch in images]
        mean = torch.stack([batch.mean((0, 2, 3)) for batch in convolved]).mean(0)
        variance = torch.stack(
            [batch.transpose(0, 1).flatten(1).var(1) for batch in convolved]
        ).mean(0)
        assert torch.allclose(stem.running_mean, mean, atol=1e-6)
        assert torch.allclose(stem.running_var, variance, rtol=1e-5)
        # Two stages of one step on each interval, three batches.
        assert network.blocks[0].nodes[0].bn1.num_batches_tracked == 2 * 3
        assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(m.momentum == 0.1 for m in network.modules() if isinstance(m, nn.BatchNorm2d))


# --- budget


def test_a_budget_chooses_the_cheapest_within_a_loss_and_the_best_within_a_latency() -> None:
    one = torch.zeros(1)
    options = [
        result("rk4", 2, one, latency_ms=4.0, accuracy=0.90),
        result("euler", 2, one, latency_ms=1.0, accuracy=0.894),
        result("euler", 1, one, latency_ms=0.5, accuracy=0.50),
        result("midpoint", 2, one, latency_ms=2.0, accuracy=0.90),
        result("rk4", 1, None),
    ]
    smaller = replace(result("heun2", 2, one, latency_ms=3.9, accuracy=0.7), parameters=40)
    options = [*(replace(option, parameters=100) for option in options), smaller]

    def chosen(*conditions: str) -> str | None:
        choice = Budget.parse(conditions).choose(options[0], options)
        return None if choice is None else str(choice[0])

    assert chosen("accuracy>=-0.5pp") == "midpoint, 2 steps"
    assert chosen("accuracy >= -0.6pp") == "euler, 2 steps"
    assert chosen("latency<=0.5x") == "midpoint, 2 steps"
    assert chosen("latency<=0.3x") == "euler, 2 steps"
    assert chosen("latency<=0.3x", "accuracy>=-0.5pp") is None
    assert chosen("accuracy>=+1pp") is None
    assert chosen("parameters<=0.4x") == "heun2, 2 steps"
    assert chosen("parameters<=0.3x") is None
    assert chosen("parameters<=1x", "accuracy>=-0.5pp") == "midpoint, 2 steps"
    assert chosen("parameters<=0.5x", "latency<=0.5x") is None


@pytest.mark.parametrize(
    "condition", ["latency<0.5x", "latency<=0.5", "accuracy>=1", "speed>=2x", "", "latency<=-1x"]
)
def test_a_budget_that_says_nothing_is_refused(condition: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"budget must be like latency<=0\.5x, parameters<=0\.5x or accuracy>=-0\.5",
    ):
        Budget.parse([condition])


def test_the_pareto_front_has_what_nothing_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.8), (3.0, 0.7), (5.0, 0.8), (6.0, 0.9)]
    assert pareto_front(points) == [(1.0, 0.5), (3.0, 0.8), (6.0, 0.9)]


# --- studies


class Counted(ContinuousNet):
    n_calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_calls += 1
        return super().forward(x)


@pytest.fixture
def subject() -> Callable[..., Subject]:
    images, labels = torch.randn(20, 3, 8, 8), torch.arange(20) % 10
    network = Counted(alpha=4, initial_time_d=2).eval()

    def make(identity: str = "network", **changes: Any) -> Subject:
        known = Subject(
            name="a.ckpt",
            network=network,
            classes=[str(i) for i in range(10)],
            test=batches(images, labels, 8),
            few=images[:2],
            training_images=lambda: [images],
            precision=lambda: torch.autocast("cpu", enabled=False),
            identity=identity,
        )
        return replace(known, **changes)

    return make


def test_a_study_that_was_stopped_goes_on_where_it_was(
    subject: Callable[..., Subject], tmp_path: Path
) -> None:
    plan = Plan(["euler", "midpoint"], [1, 2, 4], convergence=False)
    store = Store(tmp_path)
    a = subject()
    through = study(a, plan, Store(tmp_path / "other"))

    class StopError(Exception):
        pass

    def stop_at_midpoint(line: str) -> None:
        if line.startswith("midpoint, 1 step"):
            raise StopError

    with pytest.raises(StopError):
        study(a, plan, store, stop_at_midpoint)
    assert Manifestation.of(a.network) == EULER_2
    done, a.network.n_calls = a.network.n_calls, 0
    resumed = study(a, plan, store)
    assert 0 < a.network.n_calls < done
    unlike = {"latency_ms"}
    for one, other in zip(resumed.results, through.results, strict=True):
        rows = (
            {key: value for key, value in r.row().items() if key not in unlike}
            for r in (one, other)
        )
        assert next(rows) == next(rows)
    a.network.n_calls = 0
    study(a, plan, store)
    assert a.network.n_calls == 0
    study(subject("changed"), plan, store)
    assert a.network.n_calls > 0


def test_a_damaged_file_in_the_store_is_computed_again(
    subject: Callable[..., Subject], tmp_path: Path
) -> None:
    first = study(subject(), Plan(), Store(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = study(subject(), Plan(), Store(tmp_path))
    assert again.trained_figures.loss == first.trained_figures.loss


def test_a_solver_that_cannot_reach_its_tolerance_is_a_row_that_says_so(
    subject: Callable[..., Subject], tmp_path: Path
) -> None:
    found = study(subject(), Plan(["dopri5", "euler"], [4], rtol=[1e-30]), Store(tmp_path))
    assert [str(result) for result in found.results] == [
        "euler, 2 steps",
        "dopri5, rtol 1e-30",
        "euler, 4 steps",
    ]
    assert [result.failed is None for result in found.results] == [True, False, True]
    assert "scheme dopri5 cannot reach rtol=1e-30" in str(found.results[1].failed)
    network = subject().network
    found.results[1].manifestation.give(network)
    with pytest.raises(IntegrationError):
        network(torch.randn(1, 3, 8, 8))


def test_recalibration_comes_after_and_needs_batch_norm(
    subject: Callable[..., Subject], tmp_path: Path
) -> None:
    plan = Plan(["euler"], [2, 4], recalibrate=True, convergence=False)
    found = study(subject(), plan, Store(tmp_path))
    assert [(str(r), r.trained) for r in found.results] == [
        *(("euler, 2 steps", True), ("euler, 4 steps", False)),
        *(("euler, 2 steps, recalibrated", False), ("euler, 4 steps, recalibrated", False)),
    ]
    assert found.recalibrated_verdict is not None
    assert found.recalibrated_verdict.n_compared == 2
    plain = ContinuousNet(alpha=4, batch_norm=False).eval()
    found = study(subject("plain", network=plain), plan, Store(tmp_path))
    assert found.recalibrated_verdict is None
    fixed = study(subject("fixed", network=ResNet(depth=8, alpha=4).eval()), plan, Store(tmp_path))
    assert [(str(r), r.trained) for r in fixed.results if not r.recalibrated] == [
        ("as it is", True)
    ]


# --- the command


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
    for name in ("accuracy", "latency", "convergence-0", "convergence-1", "classes-0", "classes-1"):
        with Image.open(f"study/{name}.png") as image:
            assert min(image.size) > 400, name
    found = json.loads(Path("study/invariance.json").read_text())
    assert [study["checkpoint"] for study in found] == [
        f"runs/{i}/checkpoints/last.ckpt" for i in range(3)
    ]
    assert len(found[0]["rows"][0]["class_accuracy"]) == 10
    page = Path("study/report.html").read_text()
    assert page.count("<img ") == page.count("data:image/png;base64,") == 6
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


def test_strict_ends_with_3_where_a_network_is_not_invariant(run: Run) -> None:
    assert (
        run("train", "epochs=2", "model.alpha=4", "model.time_epsilon=2", "hydra.run.dir=run")[0]
        == 0
    )
    sweep = (
        "ckpt_path=run/checkpoints/last.ckpt",
        "sweep.scheme=[rk4]",
        "sweep.n_time_steps=[1,16]",
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
    message = "dataset.root must hold the classes that 'run/checkpoints/last.ckpt' was trained on, cat, dog; it holds bus"
    assert message in err
    assert not (tmp_path / "outputs").exists()
