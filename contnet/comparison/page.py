"""A comparison as one HTML page: its pictures are inside, and it loads nothing from elsewhere."""

from collections.abc import Mapping, Sequence
from html import escape

from contnet.comparison.tables import Table
from contnet.look import PAGE_STYLE, SORTING


def page(tables: Sequence[Table], images: Mapping[str, str], left_out: Sequence[str]) -> str:
    """Return the HTML page of a comparison.

    Args:
        tables: its tables.
        images: the SVG file of each picture in base64, by the picture's name.
        left_out: lines on the folders that gave no figures.
    """
    parts = [_section(table) for table in tables]
    pictures = [_image(name, image) for name, image in images.items()]
    notes = "".join(f"<p>{escape(line)}</p>" for line in left_out)
    body = "\n".join([*parts[:1], *pictures, *parts[1:], notes])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comparison of runs</title>
<style>
{PAGE_STYLE}
td.setting, th.setting {{ text-align: left; white-space: normal; overflow-wrap: anywhere; }}
img {{ width: 40rem; }}
</style>
</head>
<body>
<h1>Comparison of runs</h1>
{body}
<script>
{SORTING}
</script>
</body>
</html>
"""


def _section(table: Table) -> str:
    above = "".join(f"<p>{escape(line)}</p>" for line in table.above)
    below = "".join(f"<p>{escape(line)}</p>" for line in table.below)
    head = _row("th", table.headings, table.n_settings)
    rows = "".join(_row("td", row, table.n_settings) for row in table.rows)
    grid = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    title = escape(table.title[:1].upper() + table.title[1:])
    return f'<h2>{title}</h2>\n{above}<div class="scroll">{grid}</div>\n{below}'


def _row(tag: str, cells: Sequence[str], n_settings: int) -> str:
    kinds = [' class="setting"' if i < n_settings else "" for i in range(len(cells))]
    made = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
    return f"<tr>{''.join(made)}</tr>"


def _image(name: str, image: str) -> str:
    source = f"data:image/svg+xml;base64,{image}"
    return f'<p><img alt="{escape(name)}" src="{source}"></p>'
