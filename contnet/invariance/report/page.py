"""A study as one HTML page: its pictures are inside, and it loads nothing from elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from contnet.invariance.convergence import Convergence
from contnet.invariance.report.findings import in_words
from contnet.invariance.report.template import PAGE
from contnet.invariance.result import Figures, Result
from contnet.invariance.study import Study
from contnet.invariance.verdict import SEEN

# The settings of a result, and its figures.
SETTINGS = ("basis", "nodes", "parameters", "scheme", "steps or rtol", "batch norm")
FIGURES = (
    "rate evaluations",
    "loss",
    "accuracy %",
    "top-5 %",
    "calibration error %",
    "same class %",
    "logit distance",
    "MFLOP per image",
    "ms per image",
    "GPU memory, MB",
)
CONVERGENCE = ("scheme", "ODE block", "order", "slope", "asymptotic from", "error at the finest")


def page(studies: Sequence[Study], images: Mapping[str, str], tolerance: float) -> str:
    """Return the HTML page of studies.

    Args:
        studies: the studies to show.
        images: the PNG file of each picture in base64, by the picture's name.
        tolerance: the largest loss of an invariant network, in percentage points.
    """
    overview = "".join(_images(("accuracy", "latency"), images))
    suffixes = [f"-{number}" if len(studies) > 1 else "" for number in range(len(studies))]
    sections = "".join(
        _section(study, images, suffix) for study, suffix in zip(studies, suffixes, strict=True)
    )
    return PAGE.substitute(tolerance=f"{tolerance:g}", overview=overview, sections=sections)


def _section(study: Study, images: Mapping[str, str], suffix: str) -> str:
    batch_size = study.trained_figures.batch_size
    size = f"{study.trained.parameters:,} parameters; latency in batches of {batch_size} images."
    names = [name + suffix for name in ("projection", "classes", "convergence")]
    parts = [
        f"<h2>{escape(study.subject.name)}</h2>",
        f"<p>{size}</p>",
        *_verdicts(study),
        _results(study),
        *_images(names, images),
    ]
    if study.convergence:
        cells = [_convergence_cells(found) for found in study.convergence]
        parts.append(_table(CONVERGENCE, [f"<tr>{_cells(row)}</tr>" for row in cells]))
    return "\n".join(parts)


def _verdicts(study: Study) -> Iterator[str]:
    if not study.is_continuous:
        yield _verdict("a network without depth-time: there is nothing to sweep", None)
        return
    for verdict in (study.verdict, study.unseen_verdict):
        if verdict is not None:
            yield _verdict(in_words(verdict), verdict.invariant)
    for verdict in (study.recalibrated_verdict, study.recalibrated_unseen_verdict):
        if verdict is not None:
            yield _verdict(f"with batch norm recalibrated: {in_words(verdict)}", verdict.invariant)


def _verdict(text: str, invariant: bool | None) -> str:
    kind = {True: "verdict yes", False: "verdict no", None: "verdict"}[invariant]
    return f'<p class="{kind}">{escape(text)}</p>'


def _results(study: Study) -> str:
    marks = (SEEN,) if study.has_training_set else ()
    rows = [_row(result, marked=study.has_training_set) for result in study.results]
    return _table((*SETTINGS, *marks, *FIGURES), rows)


def _row(result: Result, *, marked: bool) -> str:
    mark = ["yes" if result.seen else "-"] if marked else []
    settings = _cells(_settings(result) + mark)
    if result.figures is None:
        reason = escape(str(result.failed))
        return f'<tr>{settings}<td class="failed" colspan="{len(FIGURES)}">{reason}</td></tr>'
    kind = " class=trained" if result.trained else ""
    return f"<tr{kind}>{settings}{_cells(_figures(result.figures))}</tr>"


def _settings(result: Result) -> list[str]:
    basis, manifestation = result.basis, result.manifestation
    return [
        "-" if basis is None else basis.name,
        "-" if basis is None else str(basis.n_basis),
        f"{result.parameters:,}",
        manifestation.name or "-",
        manifestation.effort or "-",
        "recalibrated" if result.recalibrated else "as trained",
    ]


def _figures(figures: Figures) -> list[str]:
    return [
        _evaluations(figures),
        f"{figures.loss:.4f}",
        f"{100 * figures.accuracy:.2f}",
        f"{100 * figures.top5_accuracy:.2f}",
        f"{100 * figures.calibration_error:.2f}",
        f"{100 * figures.same_prediction:.2f}",
        f"{figures.logit_distance:.3f}",
        f"{figures.flops / 1e6:.1f}",
        f"{figures.latency_ms:.3f}",
        "-" if figures.peak_memory_mb is None else f"{figures.peak_memory_mb:.0f}",
    ]


def _evaluations(figures: Figures) -> str:
    if figures.n_accepted is None:
        return str(figures.n_f_evals or "-")
    return f"{figures.n_f_evals} ({figures.n_accepted} steps, {figures.n_rejected} rejected)"


def _convergence_cells(found: Convergence) -> list[str]:
    return [
        found.scheme,
        str(found.block),
        str(found.order),
        "none" if found.slope is None else f"{found.slope:.2f}",
        "" if found.asymptotic_from is None else f"{found.asymptotic_from} steps",
        f"{found.errors[-1]:.2e}",
    ]


def _table(headings: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    table = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table>{table}</table></div>'


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def _images(names: Sequence[str], images: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        if name in images:
            source = f"data:image/png;base64,{images[name]}"
            yield f'<p><img alt="{escape(name)}" src="{source}"></p>'
