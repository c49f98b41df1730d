from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from contnet import SCHEMES, ContinuousNet, ResNet
from contnet.invariance.classes import chance_level
from contnet.invariance.manifestation import applied, present
from contnet.invariance.plan import Plan
from contnet.invariance.store import Store
from contnet.invariance.study import study, study_each
from contnet.invariance.subject import Subject
from contnet.invariance.verdict import FINER, SEEN, UNSEEN, Verdict
from contnet.ode import statistics
from contnet.ode.integrate import IntegrationError
from contnet.ode.manifestation import Manifestation
from tests.invariance.results import EULER_2
from tests.invariance.results import subject as made_up


class Counted(ContinuousNet):
    n_calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_calls += 1
        return super().forward(x)


@pytest.fixture
def subject() -> Callable[..., Subject]:
    known = made_up(Counted(alpha=4, initial_time_d=2))

    def make(identity: str = "network", **changes: Any) -> Subject:
        return replace(known, identity=identity, **changes)

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
    assert present(a.network) == EULER_2
    done, a.network.n_calls = a.network.n_calls, 0
    resumed = study(a, plan, store)
    assert 0 < a.network.n_calls < done
    unlike = {"latency_ms", "measured"}
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


def test_a_latency_is_told_by_the_run_that_measured_it(
    subject: Callable[..., Subject], tmp_path: Path
) -> None:
    first, second = Store(tmp_path), Store(tmp_path)
    study(subject(), Plan(["euler"], [1], convergence=False), first)
    plan = Plan(["euler"], [1, 4], recalibrate=True, convergence=False)
    found = study(subject(), plan, second)
    runs = [result.row()["measured"] for result in found.results]
    # Two steps are those of training. Recalibrated rows share the latency of the same graph.
    assert runs == [first.run, first.run, second.run] * 2


def test_what_chance_explains_depends_on_the_classes_and_on_the_number_of_images() -> None:
    assert chance_level(torch.arange(10_000) % 10) == pytest.approx(0.106)
    assert chance_level(torch.tensor([0] * 90 + [1] * 10)) == pytest.approx(0.96)


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
    with applied(network, found.results[1].manifestation), pytest.raises(IntegrationError):
        network(torch.randn(1, 3, 8, 8))


def test_a_network_trained_in_a_set_is_studied_on_it_and_judged_twice(
    subject: Callable[..., Subject], tmp_path: Path
) -> None:
    seen = [Manifestation(SCHEMES["euler"], 1), Manifestation(SCHEMES["midpoint"], 2)]
    trained = subject()
    statistics.provide(trained.network, seen)
    known = study(trained, Plan(seen=True, convergence=False), Store(tmp_path))
    assert [(str(r), r.trained, r.seen) for r in known.results] == [
        ("euler, 2 steps", True, False),
        ("euler, 1 step", False, True),
        ("midpoint, 2 steps", False, True),
    ]
    assert (known.verdict.n_compared, known.verdict.among) == (2, SEEN)
    assert known.unseen_verdict == Verdict(None, 0, UNSEEN)
    assert (known.trained_with, known.recalibrated_unseen_verdict) == ("2 manifestations", None)
    plan = Plan(["euler", "dopri5"], [1, 4], [1e-30], recalibrate=True, seen=True)
    asked = study(trained, plan, Store(tmp_path))
    assert asked.verdict.n_compared == 1
    assert asked.unseen_verdict is not None
    assert (asked.unseen_verdict.n_compared, asked.unseen_verdict.worst) == (
        2,
        "dopri5, rtol 1e-30",
    )
    assert asked.recalibrated_unseen_verdict is not None
    assert asked.recalibrated_unseen_verdict.n_compared == 3
    as_trained = study(trained, Plan(convergence=False), Store(tmp_path))
    assert [str(r) for r in as_trained.results] == ["euler, 2 steps"]
    statistics.provide(trained.network, [])
    alone = study(subject("alone"), Plan(seen=True, convergence=False), Store(tmp_path))
    assert [(str(r), r.trained, r.seen) for r in alone.results] == [("euler, 2 steps", True, True)]
    assert (alone.unseen_verdict, alone.verdict.among) == (None, FINER)


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


def grow(nodes: nn.ModuleList) -> None:
    """Let states overflow in the exact solution, and stay finite in one step of Euler."""
    for parameter in nodes.parameters():
        parameter.data.fill_(1e15)


def lose(nodes: nn.ModuleList) -> None:
    """Let a node be NaN that one step of Euler does not look up."""
    for parameter in nodes[1].parameters():
        parameter.data.fill_(torch.nan)


@pytest.mark.parametrize("basis", ["piecewise_constant", "piecewise_linear"])
@pytest.mark.parametrize("damage", [grow, lose])
def test_weights_that_no_adaptive_scheme_can_integrate_cost_its_rows_alone(
    damage: Callable[[nn.ModuleList], None], basis: str, tmp_path: Path
) -> None:
    network = ContinuousNet(alpha=2, initial_time_d=2, batch_norm=False, basis=basis, stitch=False)
    network.set_manifestation(n_time_steps=1)
    damage(network.blocks[-1].nodes)
    plan = Plan(["dopri5", "euler", "bosh3"], [1])
    found = study(made_up(network), plan, Store(tmp_path))
    failed = {str(result): result.failed for result in found.results}
    assert list(failed) == ["dopri5, rtol 0.0001", "euler, 1 step", "bosh3, rtol 0.0001"]
    assert failed["euler, 1 step"] is None
    for scheme in ("dopri5", "bosh3"):
        assert f"scheme {scheme} cannot reach rtol" in str(failed[f"{scheme}, rtol 0.0001"])
    assert found.verdict.loss == pytest.approx(100 * found.trained_figures.accuracy)
    row = found.results[0].row()
    assert (row["failed"], row["accuracy"]) == (found.results[0].failed, None)


def test_a_network_that_cannot_be_evaluated_as_trained_costs_no_other_its_study(
    subject: Callable[..., Subject], tmp_path: Path
) -> None:
    bad = ContinuousNet(alpha=4, scheme="dopri5").eval()
    torch.nn.init.constant_(bad.stem[0].weight, torch.nan)  # type: ignore[arg-type]
    subjects = [subject("bad", name="bad.ckpt", network=bad), subject("good")]
    studies, failed = study_each(subjects, Plan(convergence=False), Store(tmp_path))
    assert [found.subject.identity for found in studies] == ["good"]
    (error,) = failed
    assert str(error).startswith("bad.ckpt cannot be evaluated as it was trained: ")
