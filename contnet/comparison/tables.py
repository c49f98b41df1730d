"""Tables as text for a screen, Markdown, LaTeX and CSV."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # rich takes a tenth of a second to import, and every command imports this
    from rich.table import Table as RichTable

Format = Literal["text", "markdown", "latex", "csv"]

FORMATS: tuple[Format, ...] = ("text", "markdown", "latex", "csv")

UNLIMITED = 10_000
"""The width of a screen without an end."""


@dataclass(frozen=True)
class Table:
    """A table of texts, settings to the left and figures to the right.

    Args:
        title: what it shows.
        above: lines to read before it.
        headings: one for each column.
        n_settings: the number of columns on the left that hold settings.
        rows: the cells.
        below: lines to read after it.
        records: the same in full precision, for a CSV file.
    """

    title: str
    above: Sequence[str]
    headings: Sequence[str]
    n_settings: int
    rows: Sequence[Sequence[str]]
    below: Sequence[str]
    records: Sequence[Mapping[str, Any]]


def as_text(table: Table, width: int | None = None) -> str:
    """Return a table for a screen of `width` characters, or of any width.

    Where it is too wide, deviations stand below means. Where it still is, long settings are listed
    above the table, and the table is cut into several beside each other.
    """
    limit = UNLIMITED if width is None else width
    blocks: list[Table] = [table]
    listed: list[str] = []
    stacked = _width(table) > limit
    if stacked and _width(table, stacked=True) > limit:
        blocks, listed = _cut(table, limit)
    above = [line for text in (table.title, *table.above) for line in _wrapped(text, limit)]
    grids = [_drawn(block, stacked=stacked, width=limit) for block in blocks]
    return "\n".join([*above, *listed, *grids, *table.below]) + "\n"


def as_markdown(table: Table) -> str:
    """Return a table in Markdown."""
    rules = ["---"] * table.n_settings + ["---:"] * (len(table.headings) - table.n_settings)
    rows = [table.headings, rules, *table.rows]
    lines = [f"| {' | '.join(map(_in_markdown, row))} |" for row in rows]
    above = [_in_markdown(line) for line in (table.title, *table.above)]
    below = [f"- {_in_markdown(line)}" for line in table.below]
    return "\n\n".join(filter(None, [*above, "\n".join(lines), "\n".join(below)])) + "\n"


def as_latex(table: Table) -> str:
    """Return a table in LaTeX, for the package booktabs; other lines are comments."""
    columns = "l" * table.n_settings + "r" * (len(table.headings) - table.n_settings)
    rows = [" & ".join(map(_in_latex, row)) + r" \\" for row in (table.headings, *table.rows)]
    above = [f"% {line}" for line in (table.title, *table.above, r"\usepackage{booktabs}")]
    body = [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
    tabular = [rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"]
    return "\n".join([*above, *tabular, *(f"% {line}" for line in table.below)]) + "\n"


def as_csv(tables: Sequence[Table]) -> str:
    """Return tables as one of CSV, in full precision, with a column for each key of any row."""
    records = [record for table in tables for record in table.records]
    out = StringIO()
    columns = dict.fromkeys(key for record in records for key in record)
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def render(tables: Sequence[Table], form: Format, width: int | None = None) -> str:
    """Return tables in one of the formats; `width` is that of the screen for text, if any."""
    if form == "csv":
        return as_csv(tables)
    one = {"markdown": as_markdown, "latex": as_latex}.get(form, lambda t: as_text(t, width))
    return "\n".join(map(one, tables))


def _cut(table: Table, width: int) -> tuple[list[Table], list[str]]:
    """Return a table as several that fit a width, and the lines of its settings by numbers."""
    n, listed = table.n_settings, []
    settings = replace(table, headings=table.headings[:n], rows=[row[:n] for row in table.rows])
    if _width(settings, stacked=True) > width // 2:
        rows = []
        for number, row in enumerate(table.rows, 1):
            pairs = list(zip(table.headings, row[:n], strict=False))
            mark = "".join(value for key, value in pairs if not key)
            words = [f"{key}={value}" for key, value in pairs if key]
            listed += _wrapped(f"{number:>2}{mark:1} {' '.join(words)}", width, indent="    ")
            rows.append((f"{number}{mark}", *row[n:]))
        table = replace(table, headings=("", *table.headings[n:]), n_settings=1, rows=rows)
    blocks = [_columns(table, range(table.n_settings, table.n_settings + 1))]
    first = table.n_settings
    for i in range(first + 1, len(table.headings)):
        wider = _columns(table, range(first, i + 1))
        if _width(wider, stacked=True) <= width:
            blocks[-1] = wider
        else:
            first = i
            blocks.append(_columns(table, range(i, i + 1)))
    return [_with_figures(block) for block in blocks], listed


def _with_figures(table: Table) -> Table:
    """Return a table without the rows that have no figure in it."""
    rows = [row for row in table.rows if any(cell != "-" for cell in row[table.n_settings :])]
    return replace(table, rows=rows)


def _columns(table: Table, figures: range) -> Table:
    """Return a table with some of its columns of figures."""
    chosen = [*range(table.n_settings), *figures]
    rows = [[row[i] for i in chosen] for row in table.rows]
    return replace(table, headings=[table.headings[i] for i in chosen], rows=rows)


def _width(table: Table, *, stacked: bool = False) -> int:
    from rich.console import Console

    console = Console(width=UNLIMITED, color_system=None, file=StringIO())
    return console.measure(_grid(table, stacked=stacked)).maximum


def _drawn(table: Table, *, stacked: bool, width: int) -> str:
    from rich.console import Console

    out = StringIO()
    Console(file=out, width=width, color_system=None).print(_grid(table, stacked=stacked))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _grid(table: Table, *, stacked: bool) -> "RichTable":
    from rich.markup import escape
    from rich.table import Table as RichTable

    grid = RichTable()
    for i, heading in enumerate(table.headings):
        is_setting = i < table.n_settings
        name = heading.replace(".", ".\n") if is_setting else heading.replace(" ", "\n")
        justify: Any = "left" if is_setting else "right"
        grid.add_column(escape(name if stacked else heading), justify=justify, overflow="fold")
    for row in table.rows:
        cells = [cell.replace(" ±", "\n±") if stacked else cell for cell in row]
        grid.add_row(*map(escape, cells))
    return grid


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _in_markdown(text: str) -> str:
    for sign in "\\`|<>*_[]":
        text = text.replace(sign, f"\\{sign}")
    return text


_LATEX = {
    **{sign: rf"\{sign}" for sign in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
