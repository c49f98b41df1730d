"""The columns of a study's tables: settings of results, and their figures in as many digits as
tell them apart."""

from collections.abc import Callable, Iterable, Sequence

from contnet.invariance.result import Figures, Result, measured
from contnet.invariance.study import Study
from contnet.invariance.verdict import SEEN
from contnet.runs.rounding import Figure, shown

ACCURACY = "accuracy %"
MILLISECONDS = "ms per image"

EARLIER = "~"
"""The mark of a latency that an earlier run measured."""

FIGURES: dict[str, Callable[[Figures], float | None]] = {
    ACCURACY: lambda figures: 100 * figures.accuracy,
    MILLISECONDS: lambda figures: figures.latency_ms,
    "same class %": lambda figures: 100 * figures.same_prediction,
    "evals": lambda figures: figures.n_f_evals,
    "steps taken": lambda figures: figures.n_accepted,
    "steps rejected": lambda figures: figures.n_rejected,
    "loss": lambda figures: figures.loss,
    "top-5 %": lambda figures: 100 * figures.top5_accuracy,
    "calib. error %": lambda figures: 100 * figures.calibration_error,
    "logit distance": lambda figures: figures.logit_distance,
    "MFLOP per image": lambda figures: figures.flops / 1e6,
    "GPU memory, MB": lambda figures: figures.peak_memory_mb,
}
"""The columns of figures, the most important first."""


def setting_columns(study: Study) -> dict[str, list[str]]:
    """Return the settings of a study's results, by heading."""
    bases = [result.basis for result in study.results]
    manifestations = [result.manifestation for result in study.results]
    columns = {
        "scheme": [one.name or "-" for one in manifestations],
        "steps or rtol": [one.effort or "-" for one in manifestations],
        "batch norm": ["recalibrated" if r.recalibrated else "as trained" for r in study.results],
        "basis": ["-" if basis is None else basis.name for basis in bases],
        "nodes": ["-" if basis is None else str(basis.n_basis) for basis in bases],
        "parameters": [f"{result.parameters:,}" for result in study.results],
    }
    if study.has_training_set:
        columns[SEEN] = ["yes" if result.seen else "-" for result in study.results]
    return columns


def figure_columns(results: Sequence[Result], newest: str | None) -> dict[str, list[str]]:
    """Return the figures of results, by heading, without figures that no result has.

    Args:
        results: the results; one that failed has "-" everywhere.
        newest: the run whose latencies have no mark: see `newest_run`.
    """
    columns = {}
    for heading, value_of in FIGURES.items():
        values = [None if r.figures is None else value_of(r.figures) for r in results]
        if any(value is not None for value in values):
            columns[heading] = rounded(values)
    if MILLISECONDS in columns:
        marked = zip(columns[MILLISECONDS], results, strict=True)
        columns[MILLISECONDS] = [f"{text}{earlier(r.figures, newest)}" for text, r in marked]
    return columns


def rounded(values: Iterable[float | None]) -> list[str]:
    """Return numbers of one column as texts, with the digits that tell them apart."""
    return shown([None if value is None else Figure.of([value]) for value in values])


def newest_run(studies: Iterable[Study]) -> str | None:
    """Return the newest run that measured a latency of these studies; None if none is known."""
    runs = {f.measured for study in studies for _, f in measured(study.results)} - {None}
    return max((run for run in runs if run is not None), default=None)


def earlier(figures: Figures | None, newest: str | None) -> str:
    """Return the mark of a latency that was not measured in the newest run."""
    return EARLIER if figures is not None and figures.measured != newest else ""


def has_earlier(studies: Iterable[Study], newest: str | None) -> bool:
    """Return True if a latency of these studies was measured in an earlier run."""
    return any(earlier(f, newest) for study in studies for _, f in measured(study.results))
