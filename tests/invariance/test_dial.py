import json
from pathlib import Path
from typing import Any

import pytest

import contnet
from contnet import SCHEMES, ContinuousNet
from contnet.invariance.dial import cheapest
from contnet.invariance.manifestation import present
from contnet.invariance.result import Figures
from contnet.ode.manifestation import Manifestation


def row(scheme: str | None, n: int | None, accuracy: Any, ms: float, **more: Any) -> dict:
    figures = dict.fromkeys(Figures.__dataclass_fields__, 0.0)
    known = {"scheme": scheme, "n_time_steps": n, "rtol": None, "trained": False, "seen": True}
    known |= {"checkpoint": "a.ckpt", "recalibrated": False, "basis": "legendre", "n_basis": 2}
    known |= {"parameters": 1, "failed": None}
    return {**known, **figures, "accuracy": accuracy, "latency_ms": ms} | more


ROWS = [
    row("euler", 2, 0.899, 2.0, trained=True),
    row("euler", 1, 0.893, 1.0),
    row("rk4", 2, 0.900, 4.0),
    row("midpoint", 1, 0.896, 1.5),
    row("midpoint", 2, None, 0.1, failed="the state diverges"),
    row("midpoint", 4, 0.95, 0.2, recalibrated=True),
    row("midpoint", 4, 0.95, 0.3, n_basis=1),
    row("dopri5", None, 0.9, 9.0, rtol=1e-3),
]


def written(path: Path, *studies: dict) -> Path:
    path.write_text(json.dumps(studies))
    return path


def test_the_cheapest_manifestation_within_a_loss_and_a_latency_is_that_of_the_file(
    tmp_path: Path,
) -> None:
    reference = {"rows": [row("euler", 8, 1.0, 0.01, trained=True)], "reference": True}
    path = written(tmp_path / "invariance.json", {"rows": ROWS, "reference": False}, reference)
    assert cheapest(path) == Manifestation(SCHEMES["midpoint"], 1)
    assert contnet.cheapest(str(path), accuracy_loss=0.007) == Manifestation(SCHEMES["euler"], 1)
    assert cheapest(path, accuracy_loss=0, latency_ms=4) == Manifestation(SCHEMES["rk4"], 2)
    network = ContinuousNet(alpha=2, initial_time_d=2)
    chosen = cheapest(path, accuracy_loss=0)
    network.set_manifestation(chosen.scheme, chosen.n_time_steps)
    assert present(network) == Manifestation(SCHEMES["rk4"], 2)
    message = "within 0.005 of the best accuracy and 1.4 ms; midpoint, 1 step takes 1.5 ms"
    with pytest.raises(ValueError, match=message):
        cheapest(path, latency_ms=1.4)


def test_an_adaptive_manifestation_has_the_tolerance_that_was_evaluated(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a", {"rows": [row("dopri5", None, 0.9, 1.0, rtol=1e-3, trained=True)]}
    )
    scheme: Any = cheapest(path).scheme
    assert (scheme.name, scheme.rtol, scheme.atol) == ("dopri5", 1e-3, 1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "path must be the invariance.json of a study; there is none at"),
        ("[", "path must be the invariance.json of a study; '.*' is not"),
        ("[" * 100000, "path must be the invariance.json of a study; '.*' is not"),
        ('{"rows": []}', "path must be the invariance.json of a study; '.*' is not"),
        ('[{"rows": 1}]', "path must be the invariance.json of a study; '.*' is not"),
        ('[{"rows": []}]', "path must be the invariance.json of a study; '.*' is not"),
        ("[]", "one network, .* holds 0; evaluate one"),
        (
            json.dumps([{"rows": [row("euler", -1, 0.9, 1, trained=True)]}]),
            "in '.*' n_time_steps must",
        ),
        (json.dumps([{"rows": [row("euler", 1, "x", 1, trained=True)]}]), "in '.*' accuracy must"),
        (json.dumps([{"rows": [row("own", 1, 0.9, 1, trained=True)]}]), "scheme must be one of"),
        (json.dumps([{"rows": [row(None, None, 0.9, 1, trained=True)]}]), "holds no manifest"),
        (json.dumps([{"rows": ROWS}, {"rows": ROWS}]), "one network, .* holds 2; evaluate one"),
    ],
)
def test_a_file_without_an_answer_is_refused_in_one_line(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "invariance.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        cheapest(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("limits", [{"accuracy_loss": -0.1}, {"latency_ms": 0}])
def test_limits_that_nothing_can_keep_are_refused(tmp_path: Path, limits: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(limits))} must be a number"):
        cheapest(tmp_path / "none", **limits)
