"""The checkpoints that a key of evaluate.py names."""

from pathlib import Path
from typing import Any

from omegaconf import ListConfig

from contnet.comparison.runs import with_numbers
from contnet.errors import ConfigError
from contnet.runs.folder import LAST
from contnet.runs.newest import newest_checkpoint
from contnet.serving.loading import NEWEST


def checkpoint_paths(key: str, value: Any) -> list[str]:
    """Return the paths of the checkpoints that a key names, without repetition.

    Args:
        key: the key, for messages.
        value: a file, a pattern, a folder, which stands for all runs below it, `last`, which stands
            for the newest run, or a list of these.

    Raises:
        ConfigError: if a pattern or a folder names no checkpoint, there is no newest run, or the
            list is empty.
    """
    found: list[str] = []
    for name in value if isinstance(value, ListConfig) else [value]:
        matches = _matches(key, str(name))
        if not matches:
            raise ConfigError(
                f"{key} must name at least one checkpoint; there is none at {str(name)!r}"
            )
        for match in matches:
            if not match.isprintable():
                raise ConfigError(f"{key} must name files with printable names; got {match!r}")
        found += sorted(matches, key=lambda match: with_numbers(Path(match)))
    if not found:
        raise ConfigError(f"{key} must name at least one checkpoint, got []")
    return list(dict.fromkeys(found))


def _matches(key: str, name: str) -> list[str]:
    path = Path(name)
    if name == NEWEST and not path.exists():
        return [_newest(key)]
    if path.is_dir():
        return [str(file) for file in path.rglob(LAST.name)]
    if set("*?[") & set(name) and not path.exists():
        return [str(file) for file in Path(path.anchor).glob(str(path.relative_to(path.anchor)))]
    return [name]


def _newest(key: str) -> str:
    try:
        return str(newest_checkpoint())
    except ConfigError as error:
        raise ConfigError(str(error).replace(f"ckpt_path={NEWEST}", f"{key}={NEWEST}")) from error
