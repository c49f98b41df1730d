"""The report on a network that was trained in a set of manifestations."""

import json
from pathlib import Path

import pytest
from torch import nn

from contnet import SCHEMES, ContinuousNet
from contnet.invariance.plan import Plan
from contnet.invariance.report.write import report
from contnet.invariance.store import Store
from contnet.invariance.study import Study, study
from contnet.ode import statistics
from contnet.ode.manifestation import Manifestation
from tests.invariance.results import subject

SEEN = [Manifestation(SCHEMES["euler"], 1), Manifestation(SCHEMES["euler"], 2)]


def studied(network: nn.Module, folder: Path) -> Study:
    plan = Plan(["euler", "rk4"], [1, 2], tolerance=100, convergence=False, seen=True)
    return study(subject(network), plan, Store(folder))


def test_both_verdicts_and_what_was_seen_are_shown_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = ContinuousNet(alpha=2, initial_time_d=2)
    statistics.provide(network, SEEN)
    of_set = studied(network, tmp_path / "store")
    report([of_set], [], folder=tmp_path)
    out = capsys.readouterr().out
    for line in ("euler * +", "seen in training: invariant", "unseen in training: invariant"):
        assert line in out
    page = (tmp_path / "report.html").read_text()
    assert page.count('<p class="verdict yes">') == 2
    assert "<th>seen in training</th>" in page
    (found,) = json.loads((tmp_path / "invariance.json").read_text())
    assert [row["seen"] for row in found["rows"]] == [True, True, False, False]
    assert found["verdict"]["text"] == str(of_set.verdict)
    assert found["unseen_verdict"]["n_compared"] == 2
    assert found["reference"] is False


def test_a_network_trained_in_one_manifestation_is_reported_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = studied(ContinuousNet(alpha=2, initial_time_d=2), tmp_path / "store")
    report([alone], [], folder=tmp_path)
    out = capsys.readouterr().out
    assert "in training" not in out
    assert f"\n{alone.verdict}\n" in out
    assert "<th>seen in training</th>" not in (tmp_path / "report.html").read_text()
    (found,) = json.loads((tmp_path / "invariance.json").read_text())
    assert found["unseen_verdict"] is None
    assert [row["seen"] for row in found["rows"]] == [False, True, False, False]
