"""A study as one HTML page: its pictures are inside, and it loads nothing from elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from contnet.invariance.convergence import Convergence
from contnet.invariance.report.columns import (
    ACCURACY,
    EARLIER,
    MILLISECONDS,
    earlier,
    figure_columns,
    has_earlier,
    newest_run,
    rounded,
    setting_columns,
)
from contnet.invariance.report.findings import in_words
from contnet.invariance.report.template import PAGE
from contnet.invariance.study import Study
from contnet.runs.tables import without_shared

CONVERGENCE = ("scheme", "ODE block", "order", "slope", "asymptotic from", "error at the finest")

Columns = Mapping[str, Sequence[str]]


def page(studies: Sequence[Study], references: Sequence[Study], images: Mapping[str, str]) -> str:
    """Return the HTML page of studies.

    It opens with the verdicts and one table that compares the networks, or, with a single network,
    its manifestations.

    Args:
        studies: the studies to show.
        references: studies of networks to compare with.
        images: the SVG file of each picture in base64, by the picture's name.
    """
    everything = [*studies, *references]
    newest = newest_run(everything)
    several = len(everything) > 1
    parts = [line for study in studies for line in _verdicts(study, named=len(studies) > 1)]
    parts += _compared(everything, newest) if several else _results(studies[0], newest)
    parts.append(_conditions(everything, newest))
    parts += _images(("latency", "accuracy"), images)
    for number, study in enumerate(studies):
        suffix = f"-{number}" if len(studies) > 1 else ""
        if several:
            parts.append(f"<h2>{escape(study.subject.title)}</h2>")
            parts += _results(study, newest)
        parts.append(f"<p>Checkpoint: {escape(study.subject.name)}</p>")
        parts += _images(
            [name + suffix for name in ("projection", "classes", "convergence")], images
        )
        parts += _convergence(study.convergence)
    return PAGE.substitute(tolerance=f"{studies[0].tolerance:g}", body="\n".join(parts))


def _verdicts(study: Study, *, named: bool) -> Iterator[str]:
    name = f"{study.subject.title}: " if named else ""
    if not study.is_continuous:
        yield _verdict(f"{name}a network without depth-time: there is nothing to sweep", None)
        return
    for verdict, recalibrated in study.verdicts:
        words = f"with batch norm recalibrated: {in_words(verdict)}"
        words = words if recalibrated else in_words(verdict)
        yield _verdict(f"{name}{words}", verdict.invariant)


def _verdict(text: str, invariant: bool | None) -> str:
    kind = {True: "verdict yes", False: "verdict no", None: "verdict"}[invariant]
    return f'<p class="{kind}">{escape(text)}</p>'


def _compared(studies: Sequence[Study], newest: str | None) -> list[str]:
    """Return the table of networks, each as it was trained."""
    verdicts = [study.verdict for study in studies]
    milliseconds = rounded(study.trained_figures.latency_ms for study in studies)
    columns: Columns = {
        "run": [study.subject.title for study in studies],
        "trained with": [study.trained_with for study in studies],
        ACCURACY: rounded(100 * study.trained_figures.accuracy for study in studies),
        MILLISECONDS: [
            f"{text}{earlier(study.trained_figures, newest)}"
            for text, study in zip(milliseconds, studies, strict=True)
        ],
        "invariant": [{True: "yes", False: "no", None: "-"}[v.invariant] for v in verdicts],
        "largest loss, pp": ["-" if v.loss is None else f"{v.loss:.1f}" for v in verdicts],
        "95 % interval": [
            "-" if v.interval is None else f"{v.interval[0]:.1f} to {v.interval[1]:.1f}"
            for v in verdicts
        ],
        "lost most at": [v.worst or "-" for v in verdicts],
        "parameters": [f"{study.trained.parameters:,}" for study in studies],
    }
    shared, columns = _said_once(columns, kept=("run", ACCURACY, MILLISECONDS))
    return [*shared, _table(columns, n_texts=1)]


def _results(study: Study, newest: str | None) -> list[str]:
    settings = setting_columns(study)
    columns: Columns = {**settings, **figure_columns(study.results, newest)}
    shared, columns = _said_once(columns, kept=("scheme", ACCURACY, MILLISECONDS))
    failed = {i: r.failed for i, r in enumerate(study.results) if r.failed is not None}
    trained = [i for i, result in enumerate(study.results) if result.trained]
    n_texts = sum(heading in settings for heading in columns)
    return [*shared, _table(columns, n_texts, failed, trained)]


def _said_once(columns: Columns, kept: Sequence[str]) -> tuple[list[str], Columns]:
    """Return a line on what is equal in all rows, and the columns that differ."""
    shared, differing = without_shared(columns, kept)
    told = [f"{heading} {value}" for heading, value in shared.items() if value != "-"]
    return ([f"<p>In all rows: {escape('; '.join(told))}.</p>"] if told else []), differing


def _conditions(studies: Sequence[Study], newest: str | None) -> str:
    """Say what accuracies and latencies were measured on."""
    sizes = sorted({study.trained_figures.batch_size for study in studies})
    machines = dict.fromkeys(study.subject.machine for study in studies if study.subject.machine)
    where = f" on {'; '.join(machines)}" if machines else ""
    counts = sorted({study.n_images for study in studies})
    words = f"Accuracy on {' or '.join(f'{n:,}' for n in counts)} test images. Latency{where}, "
    words += f"{' or '.join(map(str, sizes))} images at a time."
    if has_earlier(studies, newest):
        words += f" {EARLIER} marks a latency that was measured in an earlier run."
    return f"<p>{escape(words)}</p>"


def _convergence(convergence: Sequence[Convergence]) -> list[str]:
    if not convergence:
        return []
    rows = [_convergence_cells(found) for found in convergence]
    columns = dict(zip(CONVERGENCE, zip(*rows, strict=True), strict=True))
    return [_table(columns, n_texts=1)]


def _convergence_cells(found: Convergence) -> list[str]:
    return [
        found.scheme,
        str(found.block),
        str(found.order),
        "none" if found.slope is None else f"{found.slope:.2f}",
        "" if found.asymptotic_from is None else f"{found.asymptotic_from} steps",
        f"{found.errors[-1]:.2e}",
    ]


def _table(
    columns: Columns,
    n_texts: int,
    failed: Mapping[int, str] | None = None,
    trained: Sequence[int] = (),
) -> str:
    """Return a table.

    Args:
        columns: its cells by heading.
        n_texts: the columns of a row that failed before the reason.
        failed: the reasons of rows that failed.
        trained: the rows that are as trained.
    """
    head = "".join(f"<th>{escape(heading)}</th>" for heading in columns)
    body = []
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        if failed and number in failed:
            reason = escape(failed[number])
            span = len(row) - n_texts
            cells = f'{_cells(row[:n_texts])}<td class="failed" colspan="{span}">{reason}</td>'
        else:
            cells = _cells(row)
        body.append(f"<tr{' class=trained' if number in trained else ''}>{cells}</tr>")
    table = f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'<div class="scroll"><table>{table}</table></div>'


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def _images(names: Sequence[str], images: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        if name in images:
            source = f"data:image/svg+xml;base64,{images[name]}"
            yield f'<p><img alt="{escape(name)}" src="{source}"></p>'
