"""Evaluations side by side: accuracy and latency of each network in each manifestation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contnet.comparison.files import DamagedError, json_of, number, printable
from contnet.comparison.runs import EVALUATION
from contnet.comparison.settings import settings_of
from contnet.runs.naming import apart, run_names

SETTINGS = ("nodes", "scheme", "steps", "batch norm")
"""What a manifestation is told by. Nodes and batch norm are those as trained, or others."""

AS_TRAINED = "as trained"

FIGURES = ("accuracy", "latency_ms")

Manifestation = tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A network as it was evaluated once.

    Args:
        folder: the folder of the evaluation.
        checkpoint: the path of its checkpoint, as the evaluation states it.
        data: what the evaluation states about the test images.
        figures: accuracy and latency of each manifestation that could be evaluated.
        trained: the manifestations that the network was trained in.
        machine: the machine that measured the latencies; None if it is not recorded.
    """

    folder: Path
    checkpoint: str
    data: str
    figures: Mapping[Manifestation, Mapping[str, float]] = field(default_factory=dict)
    trained: frozenset[Manifestation] = frozenset()
    machine: str | None = None


def read_evaluation(folder: Path) -> list[Network]:
    """Read the networks of the evaluation in a folder.

    Raises:
        DamagedError: if a file of it is damaged.
    """
    studies = json_of(folder / EVALUATION)
    try:
        return [_network(folder, study) for study in studies]
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{EVALUATION} is damaged") from error


def names_of(networks: Sequence[Network]) -> list[str]:
    """Return a short name for each network: the part of its path in which checkpoints differ.

    Networks of the same checkpoint are told apart by the folders of their evaluations.
    """
    names = run_names([network.checkpoint for network in networks])
    if len(set(names)) == len(names):
        return names
    folders = apart([network.folder for network in networks])
    return [
        f"{name} ({folder})" if names.count(name) > 1 else name
        for name, folder in zip(names, folders, strict=True)
    ]


def manifestations(networks: Sequence[Network]) -> list[Manifestation]:
    """Return the manifestations of all networks, each scheme with its steps in order."""
    found = list(dict.fromkeys(one for network in networks for one in network.figures))
    schemes = list(dict.fromkeys(one[SETTINGS.index("scheme")] for one in found))
    return sorted(found, key=lambda one: _place(one, schemes))


def _place(manifestation: Manifestation, schemes: Sequence[str]) -> tuple[object, ...]:
    nodes, scheme, steps, batch_norm = manifestation
    tolerance = steps.removeprefix("rtol ")
    effort = -float(tolerance) if tolerance != steps else float(steps.replace("-", "0"))
    return nodes != AS_TRAINED, nodes, schemes.index(scheme), effort, batch_norm


def _network(folder: Path, study: dict[str, Any]) -> Network:
    own = [_nodes(row) for row in study["rows"] if row.get("trained")]
    rows = {_manifestation(row, own): row for row in study["rows"]}
    figures = {
        manifestation: {name: value for name in FIGURES if (value := number(row.get(name)))}
        for manifestation, row in rows.items()
        if not row.get("failed")
    }
    typed = settings_of(folder, None).typed
    data = [f"{key}={value}" for key, value in typed.items() if key.startswith("dataset")]
    facts = [printable(study[name]) for name in ("test_digest",) if study.get(name)]
    stated = [f"{len(study['classes'])} classes", *data, *facts]
    trained = frozenset(one for one, row in rows.items() if row.get("trained"))
    machine = printable(study["machine"]) if study.get("machine") else None
    checkpoint = printable(study["checkpoint"])
    return Network(folder, checkpoint, " ".join(stated), figures, trained, machine)


def _nodes(row: dict[str, Any]) -> str:
    return printable(f"{row.get('basis')} {row.get('n_basis')}")


def _manifestation(row: dict[str, Any], own: Sequence[str]) -> Manifestation:
    """Return what a row is told by; `own` are the nodes that the network was trained with."""
    nodes, rtol = _nodes(row), number(row.get("rtol"))
    n_time_steps = number(row.get("n_time_steps"))
    steps = "-" if n_time_steps is None else f"{n_time_steps:g}"
    return (
        AS_TRAINED if nodes in own or not own else nodes,
        printable(row.get("scheme") or "-"),
        steps if rtol is None else f"rtol {rtol:g}",
        "recalibrated" if row.get("recalibrated") else AS_TRAINED,
    )
