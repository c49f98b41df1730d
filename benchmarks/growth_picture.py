"""The picture of benchmarks.growth: accuracy against time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from contnet.look import COLOURS, MARKERS, PERCENT, STYLE, WIDTH, saved


def draw(rows: Sequence[dict[str, Any]], path: Path, *, test: bool) -> None:
    """Draw the accuracy of each side over its time, and save the picture as PNG.

    Args:
        rows: the table of benchmarks.growth.
        path: the file.
        test: show the accuracy on the test images instead of that on the validation images.
    """
    import matplotlib as mpl

    name = "test_accuracy" if test else "val_accuracy"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        axes = figure.add_subplot()
        whole = max(rows, key=lambda row: row["relative_time"])
        spread = whole[f"{name}_std"] or 0
        axes.axhspan(whole[name] - spread, whole[name] + spread, color=COLOURS[0], alpha=0.12)
        kinds: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            kinds.setdefault(_kind(row), []).append(row)
        for i, (kind, members) in enumerate(kinds.items()):
            line = "-" if len(members) > 1 else ""
            axes.errorbar(
                [row["relative_time"] for row in members],
                [row[name] for row in members],
                [row[f"{name}_std"] or 0 for row in members],
                label=kind,
                color=COLOURS[i % len(COLOURS)],
                marker=MARKERS[i % len(MARKERS)],
                linestyle=line,
                linewidth=1,
                capsize=2,
            )
        for row in rows:
            if row["side"].endswith("throughout") and row["share"] == 1:
                text = row["side"].removesuffix(" throughout")
                place = (row["relative_time"], row[name])
                axes.annotate(text, place, (4, -11), textcoords="offset points", fontsize=8)
        axes.set_xlabel("time of the training, relative to that with the most nodes throughout")
        axes.set_ylabel(f"{'test' if test else 'validation'} accuracy in %")
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlim(0, 1.12)
        axes.legend(loc="lower right")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(figure, "png"))


def _kind(row: dict[str, Any]) -> str:
    """Return what the points of a line have in common."""
    side: str = row["side"]
    if not side.endswith("throughout"):  # all but when the network grows
        return "refined " + side.partition(", ")[2]
    return "the same nodes throughout" if row["share"] == 1 else f"{side}, fewer epochs"
