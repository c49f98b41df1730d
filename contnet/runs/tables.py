"""Tables: as CSV files, and without columns that say the same in every row."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows to a CSV file, with a column for each key of any row, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def without_shared(
    columns: Mapping[str, Sequence[str]], kept: Sequence[str] = ()
) -> tuple[dict[str, str], dict[str, Sequence[str]]]:
    """Return the values that all rows share, by heading, and the columns that differ.

    A table of one row has nothing to share.

    Args:
        columns: the cells of each column by its heading.
        kept: headings of columns that stay even if they are equal in all rows.
    """
    shared = {
        heading: cells[0]
        for heading, cells in columns.items()
        if heading not in kept and len(cells) > 1 and len(set(cells)) == 1
    }
    differing = {heading: cells for heading, cells in columns.items() if heading not in shared}
    return shared, differing
