"""The image files that a prediction is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contnet.data.files import LeftOut, image_files, reading
from contnet.errors import ConfigError


@dataclass(frozen=True)
class ImageFile:
    """A file, and the number of the class whose folder it lies in; None outside of such folders."""

    path: Path
    label: int | None


def find_images(names: Sequence[str], classes: Sequence[str]) -> list[ImageFile]:
    """Return the image files that names stand for, each once.

    Args:
        names: a file, a pattern, or a folder, which stands for all images below it.
        classes: the classes of the network. A file has a label if the first folder below a given
            folder, or else its own folder, has the name of a class.

    Raises:
        ConfigError: if a name stands for no image, or a folder cannot be read.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    found: dict[Path, ImageFile] = {}
    for name in names:
        files = _files(name, numbers)
        if not files:
            raise ConfigError(f"images must name at least one image; there is none at {name!r}")
        found |= {file.path: file for file in files}
    return list(found.values())


@reading("images")
def _files(name: str, numbers: dict[str, int]) -> list[ImageFile]:
    path = Path(name)
    if path.is_dir():
        inside = image_files(path, LeftOut())
        return [
            ImageFile(file, _label((file.relative_to(path).parts[0], file.parent.name), numbers))
            for file in inside
        ]
    files = [path]
    if set("*?[") & set(name) and not path.exists():
        matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        files = sorted(one for one in matches if not (one.is_dir() or one.name.startswith(".")))
    return [
        ImageFile(file, _label((file.parent.name,), numbers))
        for file in files
        if file.exists() or file.is_symlink()
    ]


def _label(folders: Sequence[str], numbers: dict[str, int]) -> int | None:
    return next((numbers[folder] for folder in folders if folder in numbers), None)
