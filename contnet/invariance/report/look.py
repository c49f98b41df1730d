"""The look of the pictures, which is the same in all of them.

A scheme has a colour, a marker and a dash. A basis has a colour and a marker. The position of its
name in `SCHEMES`, among the adaptive schemes or in `BASES` selects them from cycles. The cycles of
colours and markers differ in length, so that a pair does not return soon. Filled markers are
results with batch norm as trained, hollow ones with batch norm recalibrated.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from contnet.invariance.result import Result
from contnet.invariance.study import Study
from contnet.look import COLOURS, MARKERS, verbatim
from contnet.ode.bases import BASES
from contnet.ode.schemes import ADAPTIVE_SCHEMES, SCHEMES, TORCHDIFFEQ_SCHEMES

DASHES = ("-", "--", "-.", "--", "-.", "--", "-", "-.")

# Adaptive schemes have no steps to draw a curve over. They are grey.
GREYS = ("0.1", "0.3", "0.4", "0.5", "0.6")
ADAPTIVE_MARKERS = ("*", "h", "p", "<", ">", "H")
ADAPTIVE_DASHES = ("--", "-.", "--", "-.", "--", "-.")

BASIS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00")
BASIS_MARKERS = ("o", "s", "^", "D", "v")

COUNTS = FuncFormatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e6 else f"{value:,g}")

LONGEST_NAME = 32
"""The length in characters from which on the name of a run is cut."""


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


def statistics_handles(results: Iterable[Result]) -> Iterator[tuple[Line2D, str]]:
    """Yield handles of a legend that say what filled and hollow markers are, if there are both."""
    if any(result.recalibrated for result in results):
        look: Any = {"marker": "o", "linestyle": "", "color": "0.4", "markersize": 5}
        yield Line2D([], [], **look), "filled: batch norm as trained"
        yield Line2D([], [], markerfacecolor="white", **look), "hollow: batch norm recalibrated"


def short(name: str) -> str:
    """Return the name of a run, cut at its beginning if it is long, for a picture."""
    return verbatim(name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}")


def title(study: Study) -> str:
    """Return the title of a picture of one network: its run, accuracy and training."""
    accuracy = f"{100 * study.trained_figures.accuracy:.1f} %"
    return f"{short(study.subject.title)}: {accuracy}, {verbatim(trained(study))}"


def trained(study: Study) -> str:
    """Say what a network was trained with: `trained for 12 manifestations`."""
    return f"trained {'for' if study.has_training_set else 'with'} {study.trained_with}"


def short_name(result: Result) -> str:
    """Return the manifestation of a result, to write next to a point: `euler 2`."""
    name = result.manifestation.name
    return "no depth-time" if name is None else verbatim(f"{name} {short_effort(result)}")


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
