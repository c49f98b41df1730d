"""A study as one HTML page that needs nothing else: pictures inline, no requests, tables that sort on a click."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from contnet.invariance.convergence import Convergence
from contnet.invariance.result import Result
from contnet.invariance.study import Study

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Invariance study</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; cursor: pointer; background: #f5f5f5; position: sticky; top: 0; }
th:first-child, td:first-child { text-align: left; }
tr.trained td { font-weight: 600; }
td.failed { text-align: left; white-space: normal; }
.scroll { overflow-x: auto; }
.verdict { font-size: 17px; padding: .5rem .8rem; border-left: 5px solid #888; background: #f7f7f7; }
.yes { border-color: #009e73; } .no { border-color: #d55e00; }
img { max-width: 100%; }
</style></head><body>
<h1>Invariance study</h1>
<p>A manifestation is the graph that a scheme and a number of steps make of one set of weights. A network is invariant
if no manifestation at least as fine as the one it was trained with loses more than $tolerance percentage points of test
accuracy. In bold: as trained. A click on a heading sorts.</p>
$overview
$sections
<script>
for (const th of document.querySelectorAll("th")) th.onclick = () => {
  const body = th.closest("table").tBodies[0], i = th.cellIndex, up = th.dataset.up !== "1";
  const text = tr => tr.cells[i] ? tr.cells[i].textContent.replaceAll(",", "") : "";
  const key = tr => isNaN(parseFloat(text(tr))) ? text(tr) : parseFloat(text(tr));
  const less = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
  [...body.rows].sort((a, b) => (up ? 1 : -1) * less(key(a), key(b))).forEach(tr => body.append(tr));
  th.dataset.up = up ? "1" : "0";
};
</script>
</body></html>
""")
COLUMNS = (
    *(
        "basis",
        "nodes",
        "parameters",
        "scheme",
        "steps or rtol",
        "batch norm",
        "rate evaluations",
        "loss",
    ),
    *(
        "accuracy %",
        "top-5 %",
        "calibration error %",
        "same class %",
        "logit distance",
        "MFLOP per image",
    ),
    *("ms per image", "GPU memory, MB"),
)


def page(studies: Sequence[Study], images: Mapping[str, str], tolerance: float) -> str:
    """The page, with `images` by name, base64 of PNG files."""
    overview = "".join(
        _image(name, images[name]) for name in ("accuracy", "latency") if name in images
    )
    several = len(studies) > 1
    sections = "".join(
        _section(study, images, f"-{i}" if several else "") for i, study in enumerate(studies)
    )
    return PAGE.substitute(tolerance=f"{tolerance:g}", overview=overview, sections=sections)


def _section(study: Study, images: Mapping[str, str], suffix: str) -> str:
    parts = [f"<h2>{escape(study.subject.name)}</h2>"]
    batch_size = study.trained_figures.batch_size
    parts.append(
        f"<p>{study.trained.parameters:,} parameters; latency in batches of {batch_size} images.</p>"
    )
    if not study.is_continuous:
        parts.append(
            '<p class="verdict">a network without depth-time: there is nothing to sweep</p>'
        )
    else:
        parts.append(_verdict("", study.verdict.invariant, str(study.verdict)))
        if study.recalibrated_verdict is not None:
            own = study.recalibrated_verdict
            parts.append(_verdict("with batch norm recalibrated: ", own.invariant, str(own)))
    parts.append(_table(COLUMNS, "".join(_row(result) for result in study.results)))
    for name in (f"projection{suffix}", f"classes{suffix}", f"convergence{suffix}"):
        if name in images:
            parts.append(_image(name, images[name]))
    if study.convergence:
        headings = (
            "scheme",
            "ODE block",
            "order",
            "slope",
            "asymptotic from",
            "error at the finest",
        )
        lines = [_convergence_cells(found) for found in study.convergence]
        parts.append(_table(headings, "".join(f"<tr>{_cells(line)}</tr>" for line in lines)))
    return "\n".join(parts)


def _convergence_cells(found: Convergence) -> list[str]:
    slope = "none" if found.slope is None else f"{found.slope:.2f}"
    start = "" if found.asymptotic_from is None else f"{found.asymptotic_from} steps"
    return [
        found.scheme,
        str(found.block),
        str(found.order),
        slope,
        start,
        f"{found.errors[-1]:.2e}",
    ]


def _row(result: Result) -> str:
    manifestation, own = result.manifestation, result.figures
    head = [
        *(("-", "-") if result.basis is None else (result.basis.name, str(result.basis.n_basis))),
        f"{result.parameters:,}",
        manifestation.name or "-",
        manifestation.effort or "-",
        "own" if result.recalibrated else "of training",
    ]
    if own is None:
        width = len(COLUMNS) - len(head)
        return f'<tr>{_cells(head)}<td class="failed" colspan="{width}">{escape(str(result.failed))}</td></tr>'
    shares = (own.accuracy, own.top5_accuracy, own.calibration_error, own.same_prediction)
    cells = [
        *head,
        "-" if own.n_f_evals is None else str(own.n_f_evals),
        f"{own.loss:.4f}",
        *(f"{100 * share:.2f}" for share in shares),
        f"{own.logit_distance:.3f}",
        f"{own.flops / 1e6:.1f}",
        f"{own.latency_ms:.3f}",
        "-" if own.peak_memory_mb is None else f"{own.peak_memory_mb:.0f}",
    ]
    return f"<tr{' class=trained' if result.trained else ''}>{_cells(cells)}</tr>"


def _verdict(before: str, invariant: bool | None, text: str) -> str:
    kind = {True: "yes", False: "no", None: ""}[invariant]
    return f'<p class="verdict {kind}">{before}{escape(text)}</p>'


def _table(headings: Sequence[str], body: str) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def _image(name: str, content: str) -> str:
    return f'<p><img alt="{escape(name)}" src="data:image/png;base64,{content}"></p>'
