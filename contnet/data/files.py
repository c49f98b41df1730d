"""The image files in a folder, and what is there beside them."""

import os
from collections import Counter
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
        self.suffixes.add(suffix or "no suffix")

    def __str__(self) -> str:
        shown = []
        for reason, count in self.counts.most_common():
            shown.append(f"{reason} {count}")
            if reason == "no image format":
                first = ", ".join(sorted(self.suffixes)[:MOST_SUFFIXES])
                more = " and others" if len(self.suffixes) > MOST_SUFFIXES else ""
                shown[-1] += f" ({first}{more})"
        return ", ".join(shown)


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
    cannot be read.

    Raises:
        ValueError: if a folder cannot be read.
    """
    files: list[Path] = []
    _collect(folder, files, left_out, {_identity(folder)})
    return sorted(files)


def _collect(
    folder: Path, files: list[Path], left_out: LeftOut, read: set[tuple[int, int]]
) -> None:
    for entry in _entries(folder):
        path = Path(entry.path)
        # A path knows loops of links; an entry knows without a look at the disk what is no link.
        kind = path if entry.is_symlink() else entry
        suffix = path.suffix.lower()
        if entry.name.startswith("."):
            left_out.counts["hidden"] += 1
        elif kind.is_dir():
            identity = _identity(path)
            if identity in read:
                left_out.counts["folders that a second link leads to"] += 1
            else:
                read.add(identity)
                _collect(path, files, left_out, read)
        elif kind.is_file() or (entry.is_symlink() and suffix in suffixes()):
            if suffix in suffixes():
                files.append(path)
            else:
                left_out.of_no_format(suffix)
        else:
            is_link = entry.is_symlink()
            left_out.counts["broken links" if is_link else "neither file nor folder"] += 1


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"root: cannot read the folder {folder}: {error.strerror}") from error


def _identity(folder: Path) -> tuple[int, int]:
    """Return what tells a folder from all others, whatever links lead to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino
