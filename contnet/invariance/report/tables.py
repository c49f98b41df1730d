"""The tables of a study on the screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from contnet.invariance.report.columns import EARLIER, earlier, has_earlier
from contnet.invariance.result import Figures, Result
from contnet.invariance.study import Study
from contnet.ode.basis import Basis
from contnet.ode.manifestation import Manifestation

HEADINGS = ("scheme", "steps", "evals", "loss", "accuracy", "same", "ms")
PROJECTED_HEADINGS = ("theta(t)", "params", "scheme", "steps", "accuracy", "ms")
TO_THE_LEFT = ("theta(t)", "scheme")

Recalibrated = Mapping[tuple[Basis | None, Manifestation], Figures | None]


def results_table(study: Study, newest: str | None) -> Table:
    """Return the table of a study's results, recalibrated ones in a column of their own.

    A mark tells latencies that were not measured in the newest run.
    """
    recalibrated = {(r.basis, r.manifestation): r.figures for r in study.results if r.recalibrated}
    projects = any(result.projected for result in study.results)
    headings = list(PROJECTED_HEADINGS if projects else HEADINGS)
    if recalibrated:
        headings.insert(headings.index("accuracy") + 1, "recal.")
    table = Table(title=escape(study.subject.title), caption=_legend(study, headings, newest))
    for heading in headings:
        justify: Any = "left" if heading in TO_THE_LEFT else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for result in study.results:
        if not result.recalibrated:
            cells = _cells(result, recalibrated, newest, marked=study.has_training_set)
            table.add_row(*(cells.get(heading, "-") for heading in headings))
    return table


def comparison_table(studies: Sequence[Study], newest: str | None) -> Table:
    """Return the table that compares networks as they were trained."""
    table = Table(
        title="comparison",
        caption=_lost(studies, newest),
    )
    table.add_column("run", overflow="fold")
    table.add_column("trained with")
    for heading in ("params", "accuracy", "ms", "lost", "invariant"):
        table.add_column(heading, justify="right", no_wrap=True)
    for study in studies:
        verdict = study.verdict
        table.add_row(
            escape(study.subject.title),
            study.trained_with,
            f"{study.trained.parameters:,}",
            f"{study.trained_figures.accuracy:.4f}",
            _milliseconds(study.trained_figures, newest),
            "-" if verdict.loss is None else f"{verdict.loss:.1f}",
            {True: "yes", False: "no", None: "-"}[verdict.invariant],
        )
    return table


def _lost(studies: Sequence[Study], newest: str | None) -> str:
    of_a_set = any(study.has_training_set for study in studies)
    more = ", or over those seen in training if these are several" if of_a_set else ""
    lost = f"lost: largest loss over finer manifestations{more}, in percentage points"
    return f"{lost}{_on_earlier(studies, newest)}"


def _on_earlier(studies: Sequence[Study], newest: str | None) -> str:
    return f"; {EARLIER} measured in an earlier run" if has_earlier(studies, newest) else ""


def _milliseconds(figures: Figures, newest: str | None) -> str:
    return f"{figures.latency_ms:.3f}{earlier(figures, newest)}"


def _legend(study: Study, headings: Sequence[str], newest: str | None) -> str:
    same = "same: share of images that get the same class as trained"
    parts = [
        "* as trained",
        *(["+ seen in training"] if study.has_training_set else []),
        *([same] if "same" in headings else []),
        f"ms per image, {study.trained_figures.batch_size} at a time{_on_earlier([study], newest)}",
        *(["recal.: accuracy with batch norm recalibrated"] if "recal." in headings else []),
    ]
    return "; ".join(parts)


def _cells(
    result: Result, recalibrated: Recalibrated, newest: str | None, *, marked: bool
) -> dict[str, str]:
    """Return the cells of a row by their headings; cells that do not exist are left out."""
    manifestation = result.manifestation
    figures = recalibrated.get((result.basis, manifestation))
    steps = str(manifestation.n_time_steps or "-")
    marks = ["*"] * result.trained + ["+"] * (marked and result.seen)
    return {
        "theta(t)": f"{result.basis.name} {result.basis.n_basis}" if result.basis else "-",
        "params": f"{result.parameters:,}",
        "scheme": " ".join([manifestation.name or "-", *marks]),
        "steps": steps if manifestation.rtol is None else f"{manifestation.rtol:.0e}",
        **({"recal.": f"{figures.accuracy:.4f}"} if figures else {}),
        **_figures(result.figures, newest),
    }


def _figures(figures: Figures | None, newest: str | None) -> dict[str, str]:
    if figures is None:
        return {"accuracy": "failed"}
    return {
        "evals": str(figures.n_f_evals or "-"),
        "loss": f"{figures.loss:.4f}",
        "accuracy": f"{figures.accuracy:.4f}",
        "same": f"{figures.same_prediction:.4f}",
        "ms": _milliseconds(figures, newest),
    }
