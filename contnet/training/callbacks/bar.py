"""A bar of one line on a terminal, and the lines above it."""

import re
import textwrap
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.progress import Progress

FREE_COLUMNS = 3

SINGLE_SPACE = re.compile(r"(?<! ) (?! )")


class SlimProgress(Progress):
    """A bar that leaves the last columns free: a terminal shows ^C where it ends.

    After a full line, ^C would begin another one, and the bar could not be removed.
    """

    def get_renderables(self) -> Iterable[ConsoleRenderable]:
        yield _Narrow(self.make_tasks_table(self.tasks))


class _Narrow:
    """Renders something in all but the last columns of a console, however wide it is now."""

    def __init__(self, shown: ConsoleRenderable) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - FREE_COLUMNS)
        yield from console.render(self._shown, options.update_width(width))


class AboveBar:
    """A stream that writes whole lines above the bar of a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        """Write lines; those that are too long are broken between figures, and indented."""
        lines = [folded(line, self._console.width) for line in text.rstrip("\n").split("\n")]
        self._console.print("\n".join(lines), markup=False, emoji=False, highlight=False)

    def flush(self) -> None:
        """Do nothing: what is written is shown at once."""


def folded(line: str, width: int) -> str:
    """Return a line in lines of at most `width` columns.

    A line of figures is broken where two spaces stand between them, other lines at any space.
    """
    if len(line) <= width:
        return line
    if "  " in line.strip():
        line = SINGLE_SPACE.sub("\0", line)
    broken = textwrap.wrap(
        line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(broken).replace("\0", " ")
