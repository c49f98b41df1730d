"""The pictures of a comparison: accuracy over epochs, and test accuracy over training seconds."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from statistics import fmean, stdev
from textwrap import wrap

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import MaxNLocator

from contnet.comparison.groups import Group
from contnet.look import COLOURS, MARKERS, PERCENT, PLAIN, STYLE
from contnet.runs.rounding import shortened

WIDEST = 95
"""Characters of a line of the legend; a label has at most two."""

LONGEST_VALUE = 40

MOST_LABELS = 20
"""Groups that a legend names. More would leave no room for the picture."""


def pictures(groups: Sequence[Group]) -> Iterator[tuple[str, Picture]]:
    """Yield the pictures of groups of runs, each with its name; without figures there is none."""
    with mpl.rc_context(STYLE):
        kind = next((k for k in ("val_accuracy", "train_accuracy") if _all_have(groups, k)), None)
        if kind is not None:
            yield "curves", draw_curves(groups, kind)
        timed = [one for one in groups if _point(one)]
        if timed:
            yield "accuracy", draw_accuracy(groups)


def draw_curves(groups: Sequence[Group], kind: str) -> Picture:
    """Draw an accuracy over epochs: the mean of each group, and a band of a standard deviation."""
    picture, ax = _axes(groups)
    for one, label, look in zip(groups, labels(groups), _looks(), strict=False):
        curves = [_curve(run.epochs, kind) for run in one.runs]
        n_runs = sum(map(bool, curves))
        # The mean of fewer runs would jump where one of them ends.
        epochs = sorted(e for e in set().union(*curves) if sum(e in c for c in curves) == n_runs)
        values = [[curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
        means = [fmean(found) for found in values]
        marker = look["marker"] if len(epochs) < 2 else ""
        x = [epoch + 1 for epoch in epochs]
        ax.plot(x, means, color=look["color"], marker=marker, label=label, linestyle=look["dash"])
        if n_runs > 1:
            deviations = [stdev(found) for found in values]
            low = [mean - d for mean, d in zip(means, deviations, strict=True)]
            high = [mean + d for mean, d in zip(means, deviations, strict=True)]
            ax.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    name = {"val_accuracy": "validation", "train_accuracy": "training"}[kind]
    ax.set_ylabel(f"{name} accuracy (%)")
    _finish(picture, ax, groups)
    return picture


def draw_accuracy(groups: Sequence[Group]) -> Picture:
    """Draw test accuracy over seconds of training, with error bars of a standard deviation."""
    picture, ax = _axes(groups)
    seconds = []
    for one, label, look in zip(groups, labels(groups), _looks(), strict=False):
        point = _point(one)
        if point is None:
            continue
        (x, dx), (y, dy) = point
        seconds.append(x)
        ax.errorbar(
            [x], [y], xerr=dx, yerr=dy, color=look["color"], fmt=look["marker"], label=label,
            markersize=6, capsize=3, elinewidth=1,
        )  # fmt: skip
    if min(seconds) > 0 and max(seconds) > 4 * min(seconds):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("seconds of training")
    ax.set_ylabel("test accuracy (%)")
    _finish(picture, ax, groups)
    return picture


def labels(groups: Sequence[Group]) -> list[str]:
    """Return a name for each group: the settings in which it differs from others, keys cut short.

    What is null is left out. Long values are cut; numbers then tell the groups apart.
    """
    keys = list(groups[0].settings)
    last = [key.rpartition(".")[2] for key in keys]
    short = [one if last.count(one) == 1 else key for one, key in zip(last, keys, strict=True)]
    columns = [shortened([one.settings[key] for one in groups]) for key in keys]
    names = []
    for row in zip(*columns, strict=True) if columns else [()]:
        told = [f"{k}={v[:LONGEST_VALUE]}" for k, v in zip(short, row, strict=True) if v != "null"]
        names.append("\n".join(wrap(", ".join(told) or "all runs", WIDEST, max_lines=2)))
    if len(set(names)) < len(names):
        return [f"{number}: {name}" for number, name in enumerate(names, 1)]
    return names


def _looks() -> Iterator[dict[str, str]]:
    dashes = ("-", "--", "-.", ":")
    for number, (color, marker) in enumerate(zip(cycle(COLOURS), cycle(MARKERS), strict=False)):
        yield {"color": color, "marker": marker, "dash": dashes[number // len(COLOURS) % 4]}


def _all_have(groups: Sequence[Group], kind: str) -> bool:
    return bool(groups) and all(
        any(kind in epoch for run in one.runs for epoch in run.epochs) for one in groups
    )


def _curve(epochs: Sequence[Mapping[str, float]], kind: str) -> dict[int, float]:
    return {int(row["epoch"]): row[kind] for row in epochs if kind in row and "epoch" in row}


def _point(one: Group) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return mean and deviation of seconds and of accuracy, or None if one of them has none."""
    seconds, accuracy = one.figure("train_seconds"), one.figure("test_accuracy")
    if seconds is None or accuracy is None:
        return None
    return (seconds.mean, seconds.deviation or 0), (accuracy.mean, accuracy.deviation or 0)


def _axes(groups: Sequence[Group]) -> tuple[Picture, Axes]:
    n_labels = min(len(groups), MOST_LABELS)
    picture = Picture(figsize=(6.4, 4.0 + 0.2 * n_labels), layout="constrained")
    return picture, picture.subplots()


def _finish(picture: Picture, ax: Axes, groups: Sequence[Group]) -> None:
    ax.yaxis.set_major_formatter(PERCENT)
    handles, names = ax.get_legend_handles_labels()
    if len(groups) > 1:
        shown = slice(0, MOST_LABELS)
        picture.legend(handles[shown], names[shown], loc="outside lower left", fontsize=8)
