"""The image files in a folder, and what is there beside them."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contnet import arguments
from contnet.data.decoding import suffixes

MOST_SUFFIXES = 5
"""Number of suffixes to show of files that are left out."""


@dataclass
class LeftOut:
    """What a folder of images holds beside the images that count.

    Args:
        counts: how many there are, by the reason to leave them out.
        suffixes: the suffixes of the files of no image format.
    """

    counts: Counter[str] = field(default_factory=Counter)
    suffixes: set[str] = field(default_factory=set)

    def of_no_format(self, suffix: str) -> None:
        """Count a file whose suffix is that of no image format."""
        self.counts["no image format"] += 1
        self.suffixes.add(shown(suffix) or "no suffix")

    def __str__(self) -> str:
        parts = []
        for reason, count in self.counts.most_common():
            parts.append(f"{reason} {count}")
            if reason == "no image format":
                first = ", ".join(sorted(self.suffixes)[:MOST_SUFFIXES])
                more = " and others" if len(self.suffixes) > MOST_SUFFIXES else ""
                parts[-1] += f" ({first}{more})"
        return ", ".join(parts)


def shown(path: Path | str) -> str:
    """Return a path for a message: quoted if a character of it cannot be printed."""
    return str(path) if str(path).isprintable() else repr(str(path))


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Name the folder or file below that of `key` that cannot be read.

    Raises:
        ValueError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        name = shown(error.filename)
        raise ValueError(f"{key}: cannot read {name}: {error.strerror}") from error


def folder_of(root: str) -> Path:
    """Return the path of a folder, in which a first ~ stands for the home folder.

    Raises:
        ValueError: if `root` is no path.
    """
    path = arguments.folder("root", root)
    return path.expanduser() if path.parts[:1] == ("~",) else path


def class_folders(folder: Path, left_out: LeftOut) -> list[str]:
    """Return the names of the folders in a folder: the classes, sorted.

    Raises:
        ValueError: if a link leads nowhere, which may have been a class.
    """
    classes = []
    for entry in _entries(folder):
        path = Path(entry.path)
        if entry.name.startswith("."):
            left_out.counts["hidden"] += 1
        elif path.is_dir():
            classes.append(entry.name)
        elif entry.is_symlink() and not path.exists():
            raise ValueError(f"root: {entry.path!r} is a link that leads nowhere; remove it")
        else:
            left_out.counts["beside the class folders"] += 1
    return classes


def image_files(folder: Path, left_out: LeftOut) -> list[Path]:
    """Return the image files in a folder and the folders below it, sorted.

    An image has a suffix of an image format, and no part of its path is hidden. Links are followed,
    but each folder is read once. A broken link with the name of an image counts as an image, which
    cannot be read. A link to a pipe or a device does not: it may be read without an end.
    """
    files: list[Path] = []
    known, unread = {_identity(folder)}, [folder]
    while unread:
        for entry in _entries(unread.pop()):
            path = Path(entry.path)
            if entry.name.startswith("."):
                left_out.counts["hidden"] += 1
            elif not (path if entry.is_symlink() else entry).is_dir():
                _add(entry, files, left_out)
            elif (identity := _identity(path)) in known:
                left_out.counts["folders that a second link leads to"] += 1
            else:
                known.add(identity)
                unread.append(path)
    return sorted(files)


def _add(entry: os.DirEntry[str], files: list[Path], left_out: LeftOut) -> None:
    """Add what is no folder to the image files, or count it as left out."""
    path = Path(entry.path)
    suffix = path.suffix.lower()
    # A path knows loops of links; an entry knows without a look at the disk what is no link.
    is_file = path.is_file() if entry.is_symlink() else entry.is_file()
    is_broken = entry.is_symlink() and not path.exists()
    if suffix in suffixes() and (is_file or is_broken):
        files.append(path)
    elif is_file:
        left_out.of_no_format(suffix)
    else:
        left_out.counts["broken links" if is_broken else "neither file nor folder"] += 1


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _identity(folder: Path) -> tuple[int, int]:
    """Return what tells a folder from all others, whatever links lead to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino
