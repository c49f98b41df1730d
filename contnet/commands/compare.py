"""Lay runs beside each other: `contnet-compare runs... [format=text] [output=FOLDER]`.

In a checkout, `python compare.py` is the same. It only reads files, and imports neither Hydra nor
torch.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import get_args

from contnet.commands.output import survive_broken_pipes
from contnet.comparison.comparison import Comparison, compare
from contnet.comparison.files import printable
from contnet.comparison.tables import FORMATS, Format, render
from contnet.errors import ConfigError
from contnet.runs.folder import relative
from contnet.runs.signals import INTERRUPTED

USAGE = """\
contnet-compare: lay training runs and evaluations beside each other

  contnet-compare RUNS... [format=FORMAT] [output=FOLDER]

RUNS    folders of runs, sweeps or evaluations, folders around them, or
        patterns; runs that differ in nothing but the seed become one row
FORMAT  text (the default), markdown, latex or csv
FOLDER  where to write the tables, pictures and a page as well

Examples
  contnet-compare outputs
  contnet-compare 'outputs/train/2026-*' format=latex > table.tex
  contnet-compare outputs/multirun output=comparison"""

KEYS = ("format", "output")


def main() -> None:
    """Print the comparison that the command line asks for, and write it to a folder if asked."""
    survive_broken_pipes()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # where ± cannot be shown, a ? will do
            stream.reconfigure(errors="replace")
    try:
        _run(sys.argv[1:])
        sys.stdout.flush()
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _run(words: Sequence[str]) -> None:
    if not words or {"-h", "--help"} & set(words):
        print(USAGE)
        return
    names, options = _parsed(words)
    form = _format(options.get("format", "text"))
    folder = _output(options["output"]) if "output" in options else None
    comparison = compare(names)
    if comparison.tables:
        print(render(comparison.tables, form, _width()), end="")
    _tell_what_is_left_out(comparison, form)
    if folder is not None:
        _write(comparison, folder)
    if not comparison.tables:
        raise ConfigError("there is nothing to compare: no run has finished")


def _parsed(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the names of runs and the options; a folder may have an = in its name."""
    names, options = [], {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in KEYS:
            options[key] = value
        elif equals and key.isidentifier() and not _may_be_a_path(word):
            raise ConfigError(f"{printable(key)} is not a key;{_suggestion(key, KEYS)}")
        elif word.startswith("-") and not Path(word).exists():
            raise ConfigError(f"{printable(word)} is not an option; --help shows what there is")
        else:
            names.append(word)
    if not names:
        raise ConfigError("no runs are named; --help shows how")
    return names, options


def _may_be_a_path(word: str) -> bool:
    return Path(word).exists() or bool(set("*?[") & set(word))


def _format(value: str) -> Format:
    for form in get_args(Format):
        if value == form:
            return form
    raise ConfigError(f"format={printable(value)} is not an option;{_suggestion(value, FORMATS)}")


def _suggestion(word: str, known: Sequence[str]) -> str:
    likely = get_close_matches(word, known, n=1)
    return f" did you mean {likely[0]}?" if likely else f" choose from {', '.join(known)}"


def _output(value: str) -> Path:
    folder = Path(value).expanduser()
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not value or not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"output must be a folder to write to, got {printable(repr(value))}")
    return folder


def _width() -> int | None:
    """Return the width of the terminal, or None where the output goes elsewhere."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return shutil.get_terminal_size().columns


def _tell_what_is_left_out(comparison: Comparison, form: Format) -> None:
    """Say what is left out: below the text, and on standard error where the output is data."""
    file = sys.stdout if form == "text" else sys.stderr
    for one in comparison.left_out:
        print(one, file=file)


def _write(comparison: Comparison, folder: Path) -> None:
    from contnet.comparison.write import write  # imports matplotlib

    try:
        files = write(comparison, folder)
    except OSError as error:
        raise ConfigError(f"output must be a folder to write to; {printable(error)}") from error
    names = ", ".join(file.name for file in files)
    print(f"written to {relative(folder)}: {names}", file=sys.stderr)
