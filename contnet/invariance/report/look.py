"""The look of the pictures, which is the same in all of them.

A scheme has a colour, a marker and a dash. A basis has a colour and a marker. The position of its
name in `SCHEMES`, among the adaptive schemes or in `BASES` selects them from cycles. The cycles of
colours and markers differ in length, so that a pair does not return soon. Recalibrated results have
hollow markers.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from contnet.invariance.result import Result
from contnet.invariance.study import Study
from contnet.look import COLOURS, MARKERS
from contnet.ode.bases import BASES
from contnet.ode.schemes import ADAPTIVE_SCHEMES, SCHEMES, TORCHDIFFEQ_SCHEMES

DASHES = ("-", "--", "-.", "--", "-.", "--", "-", "-.")

# Adaptive schemes have no steps to draw a curve over. They are grey.
GREYS = ("0.1", "0.3", "0.4", "0.5", "0.6")
ADAPTIVE_MARKERS = ("*", "h", "p", "<", ">", "H")
ADAPTIVE_DASHES = ("--", "-.", "--", "-.", "--", "-.")

BASIS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00")
BASIS_MARKERS = ("o", "s", "^", "D", "v")

MILLIONS = FuncFormatter(lambda value, _: f"{value / 1e6:.2f} M")

LONGEST_PATH = 48
"""The length in characters from which on the path of a checkpoint is cut in a title."""


def scheme_look(name: str) -> dict[str, Any]:
    """Return colour, marker and dash of a scheme, as arguments of `Axes.plot`."""
    adaptive = [*ADAPTIVE_SCHEMES, *TORCHDIFFEQ_SCHEMES]
    if name in adaptive:
        position = _position(name, adaptive)
        return _look(position, color=GREYS, marker=ADAPTIVE_MARKERS, linestyle=ADAPTIVE_DASHES)
    position = _position(name, SCHEMES)
    return _look(position, color=COLOURS, marker=MARKERS, linestyle=DASHES)


def basis_look(name: str) -> dict[str, Any]:
    """Return colour and marker of a basis, as arguments of `Axes.plot`."""
    return _look(_position(name, BASES), color=BASIS_COLOURS, marker=BASIS_MARKERS)


def _position(name: str, known: Iterable[str]) -> int:
    """Return the position of a name; a name that is not known comes after the others."""
    names = list(known)
    return names.index(name) if name in names else len(names)


def _look(position: int, **cycles: Sequence[str]) -> dict[str, Any]:
    return {key: values[position % len(values)] for key, values in cycles.items()}


def hollow(*, recalibrated: bool) -> dict[str, Any]:
    """Return the arguments of `Axes.plot` that mark a recalibrated result."""
    return {"markerfacecolor": "white"} if recalibrated else {}


def label(name: str, *, recalibrated: bool) -> str:
    """Return the label of a scheme or basis in the legend."""
    return f"{name}, recalibrated" if recalibrated else name


def title(study: Study) -> str:
    """Return the title of a picture of one network: its checkpoint and its training."""
    path = study.subject.name
    name = path if len(path) < LONGEST_PATH else f"..{path[2 - LONGEST_PATH :]}"
    return f"{name}\ntrained with {study.trained_with}"


def short_name(result: Result) -> str:
    """Return the manifestation of a result, to write next to a point: `euler 2`."""
    name = result.manifestation.name
    return "no depth-time" if name is None else f"{name} {short_effort(result)}"


def short_effort(result: Result) -> str:
    """Return the number of steps, or the tolerance, to write next to a point."""
    manifestation = result.manifestation
    return str(manifestation.n_time_steps or f"{manifestation.rtol:g}")


def draw_ring(ax: Axes, x: float, y: float) -> None:
    """Draw a ring around the point as trained."""
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
