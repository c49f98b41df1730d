"""The dial of a served network: which manifestation to set, by the figures of a study."""

import json
from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

from contnet import arguments
from contnet.invariance.budget import Budget
from contnet.invariance.result import Figures, Result
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import find_scheme

REQUIRED = "path must be the invariance.json of a study"


def cheapest(
    path: str | PathLike[str], accuracy_loss: float = 0.005, latency_ms: float | None = None
) -> Manifestation:
    """Return the manifestation of the lowest latency that loses little accuracy.

    Set it with `network.set_manifestation(found.scheme, found.n_time_steps)`. Results that failed,
    were recalibrated or had theta(t) projected are left out: they need other numbers in the
    network. Latencies are those of the machine that made the study.

    Args:
        path: the invariance.json of a study of one network; references in it are ignored.
        accuracy_loss: the largest loss against the most accurate manifestation in the file, as a
            fraction of the test images: 0.005 is half a percentage point.
        latency_ms: the largest latency in milliseconds an image, if there is a limit.

    Raises:
        ValueError: if there is no such file, it holds no manifestation or several networks, or a
            limit is not allowed or cannot be kept.
    """
    arguments.number("accuracy_loss", accuracy_loss, minimum=0)
    if latency_ms is not None:
        arguments.number("latency_ms", latency_ms, minimum=0, exclusive=True)
    results = _results(Path(path))
    best, _ = _chosen(Budget(), results[0], results)
    result, figures = _chosen(Budget(accuracy=-100 * accuracy_loss), best, results)
    if latency_ms is not None and figures.latency_ms > latency_ms:
        raise ValueError(
            f"no manifestation in {str(path)!r} is within {accuracy_loss:g} of the best accuracy "
            f"and {latency_ms:g} ms; {result} takes {figures.latency_ms:g} ms"
        )
    return result.manifestation


def within(path: str | PathLike[str], budget: Budget) -> Manifestation:
    """Return the manifestation that a budget chooses: see `Budget.choose`.

    Results are those that `cheapest` chooses from.

    Args:
        path: the invariance.json of a study of one network.
        budget: limits relative to the network as trained.

    Raises:
        ValueError: if there is no such file, it has no figures of the network as trained, or
            nothing in it is within the budget.
    """
    results = _results(Path(path))
    trained = next((result for result in results if result.trained), None)
    if trained is None:
        raise ValueError(f"{REQUIRED}; in {str(path)!r} the network as trained has no figures")
    choice = budget.choose(trained, results)
    if choice is None:
        raise ValueError(f"budget must leave a choice; nothing in {str(path)!r} is within {budget}")
    return choice[0].manifestation


def _chosen(budget: Budget, trained: Result, results: Sequence[Result]) -> tuple[Result, Figures]:
    choice = budget.choose(trained, results)
    assert choice is not None, "the most accurate result is within every loss"
    return choice


def _results(path: Path) -> list[Result]:
    """Return the results of a file that `set_manifestation` alone leads to, one at least.

    Raises:
        ValueError: see `cheapest`.
    """
    rows = _rows(path)
    try:
        trained = next(row for row in rows if row["trained"])
        nodes = trained["basis"], trained["n_basis"]
        results = [
            _result(row)
            for row in rows
            if row["failed"] is None
            and not row["recalibrated"]
            and row["scheme"] is not None
            and (row["basis"], row["n_basis"]) == nodes
        ]
    except (KeyError, TypeError, StopIteration) as error:
        raise ValueError(f"{REQUIRED}; {str(path)!r} is not") from error
    except ValueError as error:
        raise ValueError(f"{REQUIRED}; in {str(path)!r} {error}") from error
    if not results:
        raise ValueError(f"{REQUIRED}; {str(path)!r} holds no manifestation that was evaluated")
    return results


def _rows(path: Path) -> list[Any]:
    """Return the rows of the network that was studied, without those of its references."""
    if not path.is_file():
        raise ValueError(f"{REQUIRED}; there is none at {str(path)!r}")
    try:
        studies = json.loads(path.read_text())
        studied = [study["rows"] for study in studies if not study.get("reference", False)]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{REQUIRED}; {str(path)!r} is not") from error
    if len(studied) != 1:
        raise ValueError(
            f"{REQUIRED} of one network, {str(path)!r} holds {len(studied)}; "
            "evaluate one checkpoint, the others as sweep.reference"
        )
    rows: list[Any] = studied[0]
    return rows


def _result(row: dict[str, Any]) -> Result:
    for name in ("accuracy", "latency_ms"):
        arguments.number(name, row[name], minimum=0)
    # A study of an earlier version has fewer figures.
    known: dict[str, Any] = {field.name: row.get(field.name) for field in fields(Figures)}
    figures = Figures(**known)
    rtol, n_time_steps = row["rtol"], row["n_time_steps"]
    if rtol is None:
        arguments.integer("n_time_steps", n_time_steps, minimum=1)
    return Result(
        checkpoint=row["checkpoint"],
        # Adaptive schemes are swept with equal tolerances.
        manifestation=Manifestation(find_scheme(row["scheme"], rtol, rtol), n_time_steps),
        trained=row["trained"],
        recalibrated=False,
        parameters=row["parameters"],
        figures=figures,
    )
