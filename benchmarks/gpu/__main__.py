"""Check contnet on a GPU, and measure it there.

    python -m benchmarks.gpu --budget-minutes 9
    python -m benchmarks.gpu row-euler row-rk4 --images path/to/cifar10 --budget-minutes 12
    python -m benchmarks.gpu --device cpu --quick

Each part has a process and a file of its own. A part that does not fit into the time that is left
is not run; the same command goes on with it. A part that has a result of this machine, these
versions and these sources is not repeated. The exit code is 1 if a part fails, or an aim is missed.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.gpu import record
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.running import run_all
from benchmarks.gpu.settings import Settings

MOST_MINUTES = 24 * 60

VERDICTS = {True: "yes", False: "NO", None: ""}


def parse() -> argparse.Namespace:
    """Parse the command."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"all by default: {', '.join(names)}"
    )
    parser.add_argument("--budget-minutes", type=float, default=9, help="time for all parts")
    parser.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda" if torch.cuda.is_available() else "cpu",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes; figures mean nothing")
    parser.add_argument("--again", action="store_true", help="repeat parts that have a result")
    parser.add_argument(
        "--images", type=Path, help="folder with train/<class>/ and test/<class>/ for the rows"
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/gpu"))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.parts if name not in names]
    if unknown:
        parser.error(f"PART must be one of {', '.join(names)}, got {unknown[0]}")
    if not 0 < arguments.budget_minutes < MOST_MINUTES:
        parser.error(
            f"--budget-minutes must be greater than 0 and less than {MOST_MINUTES}, "
            f"got {arguments.budget_minutes:g}"
        )
    if arguments.output.exists() and not arguments.output.is_dir():
        parser.error(f"--output must be a folder, got the file {arguments.output}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device must be cpu where PyTorch finds no GPU of CUDA, got cuda")
    images = arguments.images
    if images is not None and not all((images / name).is_dir() for name in ("train", "test")):
        parser.error(f"--images must be a folder with train/ and test/, got {images}")
    if images is not None and arguments.quick:
        parser.error("--images must be left out with --quick, which trains no whole row")
    return arguments


def table(records: dict[str, dict[str, Any]]) -> Table:
    """Return the lines of all parts as one table."""
    made = Table("part", "what", "found", "aim", "holds")
    for name, one in records.items():
        if "lines" not in one:
            holds = VERDICTS[False] if "error" in one else ""
            made.add_row(name, one.get("skipped", one.get("error")), "", "", holds)
        for line in one.get("lines", ()):
            made.add_row(name, line["what"], line["found"], line["aim"], VERDICTS[line["holds"]])
        made.add_section()
    return made


def holds(one: dict[str, Any]) -> bool:
    """Return True unless a part has failed, or has missed an aim."""
    return "error" not in one and all(line["holds"] is not False for line in one.get("lines", ()))


def main() -> None:
    arguments = parse()
    settings = Settings(arguments.device, arguments.quick, arguments.images)
    chosen = [part for part in PARTS if not arguments.parts or part.name in arguments.parts]
    records = run_all(
        chosen, settings, arguments.output, arguments.budget_minutes, again=arguments.again
    )
    made_of = record.origin(settings)
    summary = arguments.output / "summary.json"
    record.write(summary, {"parts": records, "origin": made_of})
    # Without a terminal rich takes 80 columns, which is too few for the table.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table(records))
    console.print(f"{made_of['machine']}; written to {summary}", markup=False)
    if not all(map(holds, records.values())):
        sys.exit(1)


if __name__ == "__main__":
    main()
