"""What a study looks like. Schemes differ in marker and dash as well as in colour."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil, isfinite
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from contnet.invariance.result import Figures, Result, measured
from contnet.invariance.study import Study
from contnet.ode.bases import BASES
from contnet.ode.schemes import ADAPTIVE_SCHEMES, SCHEMES

# Okabe and Ito's, of different lightness; adaptive schemes, which have no steps to draw a curve over, are grey.
COLOURS = (
    *("#0072B2", "#E69F00", "#56B4E9", "#CC79A7", "#8C6D00", "#009E73", "#D55E00"),
    *("0.1", "0.3", "0.4", "0.5", "0.6"),
)
MARKERS = ("o", "s", "^", "v", "P", "D", "X", "*", "h", "p", "<", ">")
DASHES = ("-", "--", "-.", "--", "-.", "--", "-", "--", "-.", "--", "-.", "--")
LOOK: dict[str, dict[str, Any]] = {
    name: {"color": colour, "marker": marker, "linestyle": dash}
    for name, colour, marker, dash in zip(
        (*SCHEMES, *ADAPTIVE_SCHEMES), COLOURS, MARKERS, DASHES, strict=True
    )
}
BASIS_LOOK: dict[str, dict[str, Any]] = {
    name: {"color": colour, "marker": marker}
    for name, colour, marker in zip(
        BASES, ("#0072B2", "#E69F00", "#009E73", "#D55E00"), "os^D", strict=True
    )
}
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
BESIDE: dict[str, Any] = {"textcoords": "offset points"}
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g}")
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
MILLIONS = FuncFormatter(lambda value, _: f"{value / 1e6:.2f} M")
MAX_CLASSES = 40
Measured = tuple[Result, Figures]


def pictures(
    studies: Sequence[Study], references: Sequence[Study] = ()
) -> Iterator[tuple[str, Figure]]:
    """The figures of a comparison, each with its name; those of a single network carry its number where there are
    several. Networks with nothing to sweep have none. The accuracies of `references` as they were trained, and of the
    studied networks, make a curve to compare with."""
    continuous = [study for study in studies if study.is_continuous]
    with mpl.rc_context(STYLE):
        if continuous:
            yield (
                "accuracy",
                _grid(
                    continuous,
                    _accuracy,
                    share_y=True,
                    references=_as_trained([*continuous, *references]),
                ),
            )
            yield "latency", _grid(continuous, _latency, share_y=True)
        for number, study in enumerate(studies):
            suffix = f"-{number}" if len(studies) > 1 else ""
            if any(result.projected for result in study.results):
                yield f"projection{suffix}", _projection(study)
            if study.convergence:
                yield f"convergence{suffix}", _convergence(study)
            if study.is_continuous and len(study.results) > 1:
                yield f"classes{suffix}", _classes(study)


def _grid(
    studies: Sequence[Study], draw: Callable[..., None], *, share_y: bool, **more: Any
) -> Figure:
    columns = min(len(studies), 3)
    rows = ceil(len(studies) / columns)
    figure = Figure(figsize=(1.2 + 4.4 * columns, 0.6 + 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    for study, ax in zip(studies, axes.flat, strict=False):
        draw(study, ax, **more)
        ax.set_title(_title(study), fontsize=9)
        ax.yaxis.set_major_formatter(PERCENT)
        ax.set_ylabel("test accuracy (%)")
        ax.tick_params(labelleft=True)
    for ax in list(axes.flat)[len(studies) :]:
        ax.remove()
    handles = {
        label: handle
        for ax in figure.axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center")
    return figure


def _accuracy(study: Study, ax: Axes, references: dict[str, list[tuple[int, float]]]) -> None:
    for scheme, own, members in _by(_scheme, study.unprojected):
        label, look = _label(scheme, own), _look(scheme, own)
        if scheme in ADAPTIVE_SCHEMES:
            best, figures = min(members, key=lambda member: member[0].manifestation.rtol or 0)
            line = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 1}
            ax.axhline(figures.accuracy, label=f"{label}, {best.manifestation.effort}", **line)
        else:
            points = [
                (result.manifestation.n_time_steps or 0, figures.accuracy)
                for result, figures in members
            ]
            ax.plot(*zip(*sorted(points), strict=True), label=label, **look)
    trained = study.trained.manifestation
    points = references.get(trained.name or "", [])
    if len(points) > 1:
        label = "each depth trained from scratch"
        ax.plot(
            *zip(*points, strict=True), color="0.45", linewidth=1, marker=".", zorder=1, label=label
        )
    if trained.n_time_steps:
        _ring(ax, trained.n_time_steps, study.trained_figures.accuracy)
    ax.set_xscale("log", base=2)
    ax.set_xticks(
        sorted({result.manifestation.n_time_steps for result in study.unprojected} - {None})
    )
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("n_time_steps")


def _latency(study: Study, ax: Axes) -> None:
    for scheme, own, members in _by(_scheme, study.unprojected):
        points = [(figures.latency_ms, figures.accuracy) for _, figures in members]
        look = {**_look(scheme, own), "linestyle": ""}
        ax.plot(*zip(*points, strict=True), label=_label(scheme, own), **look)
        for result, figures in [] if own else members:
            at = (figures.latency_ms, figures.accuracy)
            ax.annotate(_effort(result), at, color="0.35", fontsize=6, xytext=(4, -8), **BESIDE)
    _price(ax, study, study.unprojected)


def _price(ax: Axes, study: Study, results: Sequence[Result]) -> list[tuple[float, float]]:
    """Draw the Pareto front of the results, which it returns, the ring of the trained one, and an axis of latencies."""
    front = pareto_front([(own.latency_ms, own.accuracy) for _, own in measured(results)])
    look: dict[str, Any] = {"color": "0.45", "linewidth": 1, "drawstyle": "steps-post", "zorder": 1}
    ax.plot(*zip(*front, strict=True), label="Pareto front", **look)
    trained = study.trained_figures
    _ring(ax, trained.latency_ms, trained.accuracy)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    ax.xaxis.set_major_formatter(PLAIN)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(f"latency (ms per image, batches of {trained.batch_size})")
    return front


def _projection(study: Study) -> Figure:
    """Accuracy against parameters, with a line through each basis in the training manifestation, and against latency,
    with the nodes and steps of what is on the Pareto front."""
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    by_parameters, by_latency = figure.subplots(1, 2, sharey=True)
    for basis, recalibrated, members in _by(_basis, study.results):
        hollow = {"markerfacecolor": "white"} if recalibrated else {}
        look: dict[str, Any] = {**BASIS_LOOK[basis], "markersize": 5, **hollow}
        points = [(figures.latency_ms, figures.accuracy) for _, figures in members]
        by_latency.plot(
            *zip(*points, strict=True), linestyle="", label=_label(basis, recalibrated), **look
        )
        sizes = [(result.parameters, figures.accuracy) for result, figures in members]
        by_parameters.plot(*zip(*sizes, strict=True), linestyle="", **look)
        trained = study.trained.manifestation
        as_trained = [
            (result.parameters, own.accuracy)
            for result, own in members
            if result.manifestation == trained
        ]
        line = {"color": look["color"], "linestyle": ":" if recalibrated else "-", "linewidth": 1}
        by_parameters.plot(*zip(*sorted(as_trained), strict=True), **line)
    _ring(by_parameters, study.trained.parameters, study.trained_figures.accuracy)
    by_parameters.set_xscale("log", base=2)
    by_parameters.set_xticks(sorted({result.parameters for result in study.results}))
    by_parameters.xaxis.set_major_formatter(MILLIONS)
    by_parameters.xaxis.set_minor_locator(NullLocator())
    by_parameters.tick_params(axis="x", rotation=45)
    by_parameters.yaxis.set_major_formatter(PERCENT)
    by_parameters.set_xlabel(f"parameters; lines: with {study.trained.manifestation}")
    by_parameters.set_ylabel("test accuracy (%)")
    front = _price(by_latency, study, study.results)
    for result, own in measured(study.results):
        at = (own.latency_ms, own.accuracy)
        if at in front and result.basis is not None:
            by_latency.annotate(
                f"{result.basis.n_basis}/{_effort(result)}", at, fontsize=7, xytext=(5, 4), **BESIDE
            )
    figure.legend(*by_latency.get_legend_handles_labels(), loc="outside right center")
    figure.suptitle(
        f"{_title(study)}; projected without training (numbers: nodes/steps)", fontsize=9
    )
    return figure


def _convergence(study: Study) -> Figure:
    blocks = sorted({found.block for found in study.convergence})
    figure = Figure(figsize=(1.6 + 3.4 * len(blocks), 3.9), layout="constrained")
    axes = figure.subplots(1, len(blocks), squeeze=False, sharey=True)[0]
    for ax, block in zip(axes, blocks, strict=True):
        for found in [found for found in study.convergence if found.block == block]:
            look = LOOK[found.scheme]
            ax.plot(found.n_time_steps, found.errors, markersize=4, label=found.scheme, **look)
            n, error = found.n_time_steps[-1], found.errors[-1]
            if isfinite(error) and error > 0:
                ideal = [error * (n / m) ** found.order for m in found.n_time_steps]
                ax.plot(found.n_time_steps, ideal, color=look["color"], linewidth=0.6, alpha=0.6)
                slope = "none" if found.slope is None else f"{found.slope:.2f}"
                text: dict[str, Any] = {
                    "textcoords": "offset points",
                    "xytext": (5, -3),
                    "fontsize": 7,
                    "color": look["color"],
                }
                ax.annotate(slope, (n, error), **text)
        errors = [e for found in study.convergence for e in found.errors if isfinite(e) and e > 0]
        ax.set_ylim(min(errors, default=1e-16) / 5, max(errors, default=1) * 5)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xlim(right=2 * study.convergence[0].n_time_steps[-1])
        ax.set_xticks(study.convergence[0].n_time_steps)
        ax.xaxis.set_major_formatter(PLAIN)
        ax.set_xlabel("n_time_steps")
        ax.set_title(f"ODE block {block}", fontsize=9)
    axes[0].set_ylabel("relative error of x(1)")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", title="scheme")
    figure.suptitle(
        f"{_title(study)}\nnumbers: slope over the asymptotic range; thin lines: each scheme's order",
        fontsize=9,
    )
    return figure


def _classes(study: Study) -> Figure:
    shown = [(i, r) for i, r in enumerate(study.results) if not r.trained and r.figures]
    base = study.class_accuracy[study.results.index(study.trained)]
    order = base.argsort()[:MAX_CLASSES] if len(base) > MAX_CLASSES else range(len(base))
    change = [[100 * float(study.class_accuracy[i][c] - base[c]) for c in order] for i, _ in shown]
    names = [str(study.subject.classes[c]) for c in order]
    figure = Figure(
        figsize=(2.6 + 0.55 * len(names), 1.6 + 0.22 * len(shown)), layout="constrained"
    )
    ax = figure.subplots()
    bound = max((abs(value) for line in change for value in line), default=1) or 1
    image = ax.imshow(change, cmap="PuOr", vmin=-bound, vmax=bound, aspect="auto")
    for y, line in enumerate(change):
        for x, value in enumerate(line):
            colour = "white" if abs(value) > 0.6 * bound else "black"
            ax.text(
                x,
                y,
                f"{value:+.0f}" if round(value) else "0",
                ha="center",
                va="center",
                fontsize=6,
                color=colour,
            )
    labels = [str(result) for _, result in shown]
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(labels)), labels, fontsize=7)
    ax.grid(visible=False)
    which = f", the {len(names)} weakest classes" if len(base) > MAX_CLASSES else ""
    ax.set_title(f"change of accuracy per class{which}\n{_title(study)}", fontsize=9)
    figure.colorbar(image, label="percentage points against the training manifestation")
    return figure


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (latency, accuracy) that no other one beats in both, cheapest first."""
    front: list[tuple[float, float]] = []
    for latency, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((latency, accuracy))
    return front


def _by(
    named: Callable[[Result], str], results: Iterable[Result]
) -> Iterator[tuple[str, bool, list[Measured]]]:
    """(name, recalibrated, results), those that have figures."""
    groups: dict[tuple[str, bool], list[Measured]] = {}
    for result, figures in measured(results):
        groups.setdefault((named(result), result.recalibrated), []).append((result, figures))
    for (name, own), members in groups.items():
        yield name, own, members


def _scheme(result: Result) -> str:
    return result.manifestation.name or ""


def _basis(result: Result) -> str:
    return result.basis.name if result.basis else ""


def _effort(result: Result) -> str:
    """Short, to stand beside a point: the number of steps, or the tolerance."""
    return str(result.manifestation.n_time_steps or f"{result.manifestation.rtol:g}")


def _look(scheme: str, recalibrated: bool) -> dict[str, Any]:
    hollow = {"markerfacecolor": "white", "linestyle": ":"} if recalibrated else {}
    return {**LOOK[scheme], "markersize": 5, **hollow}


def _label(scheme: str, recalibrated: bool) -> str:
    return f"{scheme}, recalibrated" if recalibrated else scheme


def _as_trained(studies: Sequence[Study]) -> dict[str, list[tuple[int, float]]]:
    """For each scheme, (n_time_steps, accuracy) of the networks that were trained with it."""
    found: dict[str, list[tuple[int, float]]] = {}
    for study in studies:
        trained = study.trained.manifestation
        if trained.n_time_steps:
            found.setdefault(trained.name or "", []).append(
                (trained.n_time_steps, study.trained_figures.accuracy)
            )
    return {scheme: sorted(points) for scheme, points in found.items()}


def _ring(ax: Axes, x: float, y: float) -> None:
    ax.plot(
        [x],
        [y],
        "o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor="black",
        label="as trained",
        zorder=5,
    )


def _title(study: Study) -> str:
    name = study.subject.name
    return f"{name if len(name) < 48 else '..' + name[-46:]}\ntrained with {study.trained.manifestation}"
