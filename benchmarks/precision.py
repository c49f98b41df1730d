"""Work and precision of adaptive schemes: rate evaluations over error, beside other libraries.

    python -m benchmarks.precision --picture docs/precision.png

Each solver integrates each problem in float64 with rtol = atol from 1e-3 to 1e-9. The error is that
of x(end), relative to its norm. A scheme of contnet is compared with the library that needs the
fewest evaluations for an equal error: between two tolerances, the logarithm of the evaluations is
interpolated over that of the error. torchdiffeq has to be installed; torchode and diffrax are
compared with if they are.
"""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import parser, write
from benchmarks.peers import MAKE, METHODS, PEERS, GaveUpError, Solver, by_contnet, installed
from benchmarks.problems import EXACT, Problem, network

TOLERANCES = [10.0**-i for i in range(3, 10)]
SCHEMES = ("dopri5", "tsit5", "bosh3", "heun_euler", "dopri8")
SMALLEST, LARGEST = 1e-12, 0.1
"""Errors that are compared: smaller ones are rounding, and larger ones no solution."""

Points = list[dict[str, float]]
"""Tolerance, error and evaluations of a solver on a problem."""

Curves = dict[str, dict[str, dict[str, Points]]]
"""Points of each problem, scheme and library."""


def points(solve: Solver, problem: Problem) -> Points:
    """Return what a solver reaches with each tolerance with which it does not give up."""
    found: Points = []
    for tolerance in TOLERANCES:
        try:
            x, n = solve(problem, tolerance)
        except GaveUpError:
            continue
        error = float((x - problem.final).norm() / problem.final.norm())
        found.append({"tolerance": tolerance, "error": error, "evaluations": n})
    return found


def sides(scheme: str, libraries: Sequence[str]) -> Iterator[tuple[str, Solver]]:
    """Yield the libraries that have a scheme, each with its solver."""
    yield "contnet", by_contnet(scheme)
    for library in libraries:
        if scheme in METHODS[library]:
            yield library, MAKE[library](METHODS[library][scheme])


class Front:
    """The fewest evaluations of a solver for an error, as far as it has been measured."""

    def __init__(self, measured: Points) -> None:
        self.log_errors: list[float] = []
        self.log_evaluations: list[float] = []
        for point in sorted(measured, key=lambda point: (point["evaluations"], point["error"])):
            error = np.log(max(point["error"], SMALLEST))
            if error <= np.log(LARGEST) and (not self.log_errors or error < self.log_errors[-1]):
                self.log_errors.append(error)
                self.log_evaluations.append(np.log(point["evaluations"]))

    def evaluations(self, log_error: float) -> float:
        """Return the evaluations for an error; infinitely many outside of what was measured."""
        if not self.log_errors or not self.log_errors[-1] <= log_error <= self.log_errors[0]:
            return float("inf")
        logs = np.interp(log_error, self.log_errors[::-1], self.log_evaluations[::-1])
        return float(np.exp(logs))


def compared(ours: Points, peers: dict[str, Points]) -> dict[str, float] | None:
    """Return the median and the largest ratio of our evaluations to the best peer's.

    Both are over 25 errors in the range that both have in common; None if there is no such range.
    """
    front, others = Front(ours), [Front(found) for found in peers.values()]
    others = [other for other in others if other.log_errors]
    if not front.log_errors or not others:
        return None
    low = max(front.log_errors[-1], min(other.log_errors[-1] for other in others))
    high = min(front.log_errors[0], max(other.log_errors[0] for other in others))
    ratios = []
    for log_error in np.linspace(low, high, 25):
        best = min(other.evaluations(log_error) for other in others)
        if np.isfinite(best) and low <= high:
            ratios.append(front.evaluations(log_error) / best)
    if not ratios:
        return None
    return {"median": statistics.median(ratios), "largest": max(ratios)}


def compare_all(curves: Curves) -> dict[str, dict[str, dict[str, float] | None]]:
    """Return the ratios of each problem and scheme."""
    return {
        problem: {
            scheme: compared(
                found["contnet"], {name: side for name, side in found.items() if name != "contnet"}
            )
            for scheme, found in of_schemes.items()
        }
        for problem, of_schemes in curves.items()
    }


def table(ratios: dict[str, dict[str, dict[str, float] | None]]) -> str:
    """Return the ratios as a table in Markdown."""
    lines = ["| Problem | " + " | ".join(SCHEMES) + " |", "| --- |" + " --- |" * len(SCHEMES)]
    for problem, of_schemes in ratios.items():
        cells = [
            "-" if found is None else f"{found['median']:.2f} ({found['largest']:.2f})"
            for found in of_schemes.values()
        ]
        lines.append(f"| {problem} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(curves: Curves, path: Path) -> None:
    """Draw a panel for each problem: ours solid, the others' dashed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    figure, panels = plt.subplots(2, 3, figsize=(12, 7), sharey=True, layout="constrained")
    dashed: Any = (("--", "x"), (":", "+"), ("-.", "1"))
    marks: dict[str, Any] = {"contnet": ("-", "o"), **dict(zip(PEERS, dashed, strict=True))}
    for panel, (problem, of_schemes) in zip(panels.flat, curves.items(), strict=True):
        for i, of_sides in enumerate(of_schemes.values()):
            for side, found in of_sides.items():
                line, mark = marks[side]
                panel.loglog(
                    [max(point["error"], SMALLEST) for point in found],
                    [point["evaluations"] for point in found],
                    linestyle=line,
                    marker=mark,
                    markersize=4,
                    linewidth=1.8 if side == "contnet" else 0.9,
                    color=f"C{i}",
                )
        panel.set_title(problem)
        panel.invert_xaxis()
        panel.grid(alpha=0.3)
    figure.supxlabel("relative error of x(end)")
    figure.supylabel("rate evaluations")
    names = [Line2D([], [], color=f"C{i}", label=scheme) for i, scheme in enumerate(SCHEMES)]
    kinds = [
        Line2D([], [], color="black", linestyle=line, marker=mark, label=side)
        for side, (line, mark) in marks.items()
    ]
    figure.legend(handles=[*names, *kinds], loc="outside upper center", ncols=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"picture written to {path}")


def main() -> None:
    made = parser(__doc__, "precision")
    made.add_argument("--picture", type=Path, help="file to draw the curves to")
    options = made.parse_args()
    libraries = installed()
    curves: Curves = {}
    solvers = {scheme: list(sides(scheme, list(libraries))) for scheme in SCHEMES}
    for problem in [*(make() for make in EXACT), network()]:
        curves[problem.name] = {
            scheme: {side: points(solve, problem) for side, solve in solvers[scheme]}
            for scheme in SCHEMES
        }
        print(f"{problem.name} is done", flush=True)
    ratios = compare_all(curves)
    print("evaluations over the best peer's at equal error, median (largest):")
    print(table(ratios))
    if options.picture is not None:
        draw(curves, options.picture)
    write(options.json, {"ratios": ratios, "curves": curves, "peers": libraries})


if __name__ == "__main__":
    main()
