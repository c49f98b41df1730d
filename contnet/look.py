"""The look of pictures and pages, which is the same in all reports."""

from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Colours of Okabe and Ito, of different lightness.
COLOURS = ("#0072B2", "#E69F00", "#56B4E9", "#CC79A7", "#8C6D00", "#009E73", "#D55E00")
MARKERS = ("o", "s", "^", "v", "P", "D", "X", "d")

STYLE: Any = {
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "figure.dpi": 160,
}
"""Settings of matplotlib for every picture."""

WIDTH = 6.4
"""The width of a picture in inches: at 600 pixels its letters can be read."""

PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g}")
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def verbatim(text: str) -> str:
    """Return a text for a picture in which a dollar is a dollar, and begins no formula."""
    return text.replace("$", r"\$")


def saved(figure: Figure, kind: str) -> bytes:
    """Return the file of a picture, "png" or "svg"; it has no date, so equal pictures are equal."""
    content = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "contnet"}):
        figure.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else {})
    return content.getvalue()


PAGE_STYLE = """\
body {
  font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
  color: #222;
}
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td {
  padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap;
}
th {
  white-space: normal; vertical-align: bottom; cursor: pointer; background: #f5f5f5;
  position: sticky; top: 0;
}
th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
img { max-width: 100%; }
"""
"""The style sheet that pages share."""

SORTING = """\
for (const th of document.querySelectorAll("th")) th.onclick = () => {
  const body = th.closest("table").tBodies[0], i = th.cellIndex, up = th.dataset.up !== "1";
  const text = tr => tr.cells[i] ? tr.cells[i].textContent.replaceAll(",", "") : "";
  const key = tr => isNaN(parseFloat(text(tr))) ? text(tr) : parseFloat(text(tr));
  const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
  const order = (a, b) =>
    typeof a === typeof b ? compare(a, b) : typeof a === "number" ? -1 : 1;
  const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b)));
  rows.forEach(tr => body.append(tr));
  th.dataset.up = up ? "1" : "0";
};
"""
"""The script that sorts a table by a column whose heading is clicked."""
