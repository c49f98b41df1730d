"""Reproduce rows of the tables of the original and the paper, over seeds, in one table.

    python -m benchmarks.reproduce cifar10/resnet20 cifar10/continuous_net_euler --seeds 1 2 3
    python -m benchmarks.reproduce cifar10/modern "cifar10/modern label_smoothing=0"
    python -m benchmarks.reproduce cifar10/resnet20 --set dataset=image_folder \\
        --set dataset.root=path/to/cifar10

Every run is a process and a folder of its own: `python train.py experiment=ROW seed=SEED`. A
finished run is not repeated, and a stopped run resumes from its last checkpoint. So repeating the
command resumes the whole table.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.rows import ROWS, Row, Run, check_reserved
from benchmarks.table import markdown, table_row
from contnet.errors import ConfigError
from contnet.runs.tables import write_csv


def parse() -> argparse.Namespace:
    """Parse the command; rows and seeds that are repeated count once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "rows",
        nargs="+",
        type=Row.parse,
        metavar="ROW",
        help=f'a row, or "ROW KEY=VALUE ..."; one of {", ".join(ROWS)}',
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="an override of all rows",
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"))
    arguments = parser.parse_args()
    arguments.rows = list(dict.fromkeys(arguments.rows))
    arguments.seeds = list(dict.fromkeys(arguments.seeds))
    return arguments


def check(runs: dict[Row, list[Run]], overrides: list[str]) -> None:
    """Check all runs before the first one starts.

    Raises:
        ConfigError: if a configuration is wrong, or a folder is another run's.
    """
    folders: dict[Path, Row] = {}
    for row in runs:
        first = folders.setdefault(runs[row][0].folder, row)
        if first != row:
            raise ConfigError(f"{first} and {row} would share a folder; give them an --output each")
        check_reserved([*row.overrides, *overrides])
        for run in runs[row]:
            row.composed([*overrides, f"seed={run.seed}"])
            run.check()


def main() -> None:
    arguments = parse()
    overrides, output = arguments.overrides, arguments.output
    runs = {row: row.runs(arguments.seeds, overrides, output) for row in arguments.rows}
    try:
        check(runs, overrides)
        output.mkdir(parents=True, exist_ok=True)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: --output must be a folder that can be written to; {error}")
    table: list[dict[str, Any]] = []
    for row in runs:
        table.append(table_row(row, overrides, [run.train() for run in runs[row]]))
        # Write the table after every row: it is there if a later row is stopped. A run that failed
        # at once has removed its folder, and the folders around it that were empty.
        output.mkdir(parents=True, exist_ok=True)
        write_csv(output / "table.csv", table)
        (output / "table.md").write_text(markdown(table))
    print((output / "table.md").read_text())
    n_failed = sum(row["failed"] for row in table)
    if n_failed:
        sys.exit(f"error: {n_failed} of {len(table) * len(arguments.seeds)} runs failed")


if __name__ == "__main__":
    main()
