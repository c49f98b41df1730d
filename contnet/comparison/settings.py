"""The settings of a run: what was typed, the options that were chosen, and the configuration.

Two runs differ in a setting that somebody typed, or in a default that has changed between them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from contnet.comparison.files import DamagedError, printable, yaml_of
from contnet.runs.folder import CHOICES, OVERRIDES, RECORD

CONFIG = RECORD / "config.yaml"
"""Hydra's record of the composed configuration."""

ASIDE = {"seed", "run_dir", "ckpt_path", "trust"}
"""Keys in which runs that are repetitions of each other may differ: the seed, and folders."""

MOST_KEYS = 10_000
"""Keys of a configuration, which has about 100."""

NOT_SET = "-"
"""The value of a key that the configuration of a run does not have."""

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Settings:
    """The settings of one run, as texts.

    Args:
        typed: the values of the keys and groups on its command line.
        choices: the chosen option of each group; empty without a record.
        config: the values in its configuration by dotted key, unresolved; empty without a record.
        facts: what its result states besides figures.
    """

    typed: Mapping[str, str]
    choices: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def value(self, key: str) -> str:
        """Return the value of a key or group, the default included if it is recorded."""
        value = self.known(key) or self.typed.get(key)
        for _ in range(5):  # a value may refer to one that refers to another
            reference = _REFERENCE.fullmatch(value or "")
            if reference is None:
                break
            value = self.config.get(reference[1])
        return value or (NOT_SET if self.config else "default")

    def known(self, key: str) -> str | None:
        """Return what is recorded of a key, group or fact, or None if that is nothing."""
        return self.config.get(key) or self.choices.get(key) or self.facts.get(key)


def settings_of(folder: Path, overrides: Sequence[str] | None) -> Settings:
    """Return the settings of the run in `folder`.

    Args:
        folder: the folder of the run.
        overrides: its overrides, or None to read them from its record.

    Raises:
        DamagedError: if a file of its record is damaged.
    """
    recorded = yaml_of(folder / OVERRIDES) if overrides is None else list(overrides)
    if recorded is not None and not isinstance(recorded, list):
        raise DamagedError(f"{OVERRIDES.name} is damaged")
    choices = yaml_of(folder / CHOICES)
    for key in ("hydra", "runtime", "choices"):
        choices = choices.get(key) if isinstance(choices, dict) else None
    chosen = choices if isinstance(choices, dict) else {}
    config = yaml_of(folder / CONFIG)
    return Settings(
        typed=dict(_typed(str(override)) for override in recorded or []),
        choices={printable(group): text_of(option) for group, option in chosen.items()},
        config=_flat(config) if isinstance(config, dict) else {},
    )


def is_compared(key: str) -> bool:
    """Return True for a key in which repetitions of a run may not differ."""
    return key not in ASIDE and not key.startswith(("hydra.", "hydra/"))


def text_of(value: Any) -> str:
    """Return a value of a configuration as a command line spells it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return printable(f"[{','.join(map(text_of, value[:100]))}]")
    return printable(value)


def _typed(override: str) -> tuple[str, str]:
    key, equals, value = override.partition("=")
    if not equals:
        return printable(key.lstrip("+~")), NOT_SET
    try:
        return printable(key.lstrip("+~")), text_of(yaml.load(value, yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return printable(key.lstrip("+~")), printable(value)


def _flat(config: dict[Any, Any]) -> dict[str, str]:
    """Return the values of nested dictionaries by their dotted keys."""
    found = {}
    for number, (key, value) in enumerate(_leaves("", config, 0)):
        if number == MOST_KEYS:  # aliases make a short file long
            raise DamagedError(f"{CONFIG.name} is too large")
        found[printable(key)] = text_of(value)
    return found


def _leaves(prefix: str, value: Any, level: int) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or level > 20:
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _leaves(f"{prefix}.{key}" if prefix else str(key), inner, level + 1)
