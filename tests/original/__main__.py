"""Print the largest differences of this package from the original, re-implemented.

    python -m tests.original

They are relative, in float64: outputs in evaluation and in training mode, gradients, running
statistics, all weights and statistics after five optimizer steps, and again after a refinement and
five more.
"""

from dataclasses import astuple, fields

from tests.original.comparison import Differences, differences, row_config
from tests.original.continuous import TABLEAUS
from tests.original.test_networks import ROWS, VARIANTS, of_scheme


def _print(name: str, found: Differences) -> None:
    cells = ("-" if value is None else f"{value:.1e}" for value in astuple(found))
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    columns = [field.name.replace("_", " ") for field in fields(Differences)]
    print(f"| network | {' | '.join(columns)} |")
    print(f"| --- | {' | '.join('---' for _ in columns)} |")
    for row in ROWS:
        _print(f"`original/{row}`", differences(row_config(row)))
    for scheme in TABLEAUS:
        for n_basis in (1, 2, 3, 4, 8):
            _print(f"{scheme}, K = {n_basis}", differences(of_scheme(scheme, n_basis)))
    for name, overrides in VARIANTS.items():
        _print(f"midpoint, K = 2, {name}", differences(of_scheme("midpoint", 2, *overrides)))


if __name__ == "__main__":
    main()
