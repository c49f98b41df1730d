"""The files of a comparison."""

from base64 import b64encode
from pathlib import Path

from contnet.comparison.comparison import Comparison
from contnet.comparison.page import page
from contnet.comparison.pictures import pictures
from contnet.comparison.tables import Format, render
from contnet.look import saved
from contnet.runs.atomic import write_atomically

SUFFIXES: dict[str, Format] = {"csv": "csv", "md": "markdown", "tex": "latex"}


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write tables, pictures and page of a comparison to a folder, which is made if need be.

    Each file is written atomically, and all of them once all have been made. Files of the same
    names are replaced.

    Returns:
        the files.

    Raises:
        OSError: if a file cannot be written.
    """
    contents = {
        f"comparison.{suffix}": render(comparison.tables, form).encode()
        for suffix, form in SUFFIXES.items()
    }
    images = {}
    for name, picture in pictures(comparison.groups):
        for kind in ("png", "svg"):
            contents[f"{name}.{kind}"] = saved(picture, kind)
        images[name] = b64encode(contents[f"{name}.svg"]).decode()
    left_out = [str(one) for one in comparison.left_out]
    contents["comparison.html"] = page(comparison.tables, images, left_out).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]
