"""The newest checkpoint of a run that can be read."""

import zipfile
from pathlib import Path

from contnet.errors import ConfigError
from contnet.runs.archive import Archive, MalformedError
from contnet.runs.folder import BEST, LAST, PREVIOUS


def newest_checkpoint(folder: Path | None = None) -> Path:
    """Return the checkpoint of the run in `folder`, by default of the newest run of train.py.

    Where the last checkpoint is damaged or missing, it is the one before.

    Raises:
        ConfigError: if there is none, or both are damaged.
    """
    folders = Path("outputs/train").glob("*/*/") if folder is None else [folder]
    found = {
        place: [place / name for name in (LAST, PREVIOUS) if (place / name).exists()]
        for place in folders
    }
    times = {place: max(map(_saved_at, paths)) for place, paths in found.items() if paths}
    if not times:
        where = "any folder of outputs/train" if folder is None else folder
        advice = None if folder is None else _advice(folder)
        more = f"; {advice}" if advice else ""
        raise ConfigError(f"ckpt_path=last finds no {LAST} in {where}{more}")
    newest = max(times, key=lambda place: times[place])
    damages = []
    for path in found[newest]:
        damage = damage_of(path)
        if damage is None:
            return path
        damages.append(f"{path} is damaged ({damage})")
    advice = _advice(newest) or "no other checkpoint of the run can be loaded"
    raise ConfigError(f"ckpt_path=last: {' and '.join(damages)}; {advice}")


def _advice(folder: Path) -> str | None:
    """Return how to go on from the best checkpoint of a run, or None if it cannot be loaded."""
    best = folder / BEST
    if damage_of(best) is not None:
        return None
    return (
        f"{best} can be loaded: give it as ckpt_path={best}, with another hydra.run.dir and the "
        "overrides of the run"
    )


def damage_of(path: Path) -> str | None:
    """Return what is wrong with the file of a checkpoint, or None if every byte is as written.

    The archive holds a checksum of each of its parts. A file that is missing is damaged.
    """
    if not path.is_file():  # a pipe would be read without an end
        return "not a file"
    try:
        with Archive(path), zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (MalformedError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None if part is None else f"bad checksum of {part}"


def _saved_at(path: Path) -> float:
    return path.stat().st_mtime
