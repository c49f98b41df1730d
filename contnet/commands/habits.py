"""Habits from other programs: words of a command line that Hydra answers with no advice.

This module is imported before torch is.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from contnet.commands.grammar import program, value_of
from contnet.commands.messages import CONF
from contnet.errors import ConfigError
from contnet.processes import world_size

FLAGS = frozenset(
    {"-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "--resolve", "-p", "--package"}
    | {"-r", "--run", "-m", "--multirun", "-s", "-sc", "--shell-completion", "-cp", "--config-path"}
    | {"-cn", "--config-name", "-cd", "--config-dir", "--experimental-rerun", "-i", "--info"}
)
"""The flags of Hydra. All other words are overrides, or values of a flag."""

FLAG = re.compile(r"--?([A-Za-z][\w.-]*)(=.*)?")


def check_words(command: str, words: Sequence[str]) -> None:
    """Check the words of a command before Hydra reads them.

    Raises:
        ConfigError: if a key is typed as a flag, or a group is chosen that only train.py has.
    """
    for word, following in pairwise([*words, ""]):
        typed = FLAG.fullmatch(word)
        if typed and not _is_known(word.partition("=")[0]):
            _refuse_flag(word, typed, following)
    if command == "evaluate":
        for group in _groups():
            if value_of(group, [*words]) is not None and group not in ("hydra", "experiment"):
                _refuse_group(command, group, [*words])


def check_alone(name: str) -> None:
    """Check that torchrun has started no more than one process of a command that needs no others.

    Raises:
        ConfigError: if it has: they would write the same files.
    """
    if world_size() > 1:
        raise ConfigError(f"{name} runs in one process; torchrun has started {world_size()}")


def _is_known(flag: str) -> bool:
    """Return True for a flag, its beginning, or a letter with its value, such as -cjob."""
    if flag.startswith("--"):
        return any(known.startswith(flag) for known in FLAGS)
    return flag in FLAGS or flag[:2] in FLAGS


def _refuse_flag(word: str, typed: re.Match[str], following: str) -> None:
    key = typed[1].replace("-", "_")
    is_value = following and "=" not in following and not following.startswith("-")
    value = typed[2] or (f"={following}" if is_value else "=...")
    raise ConfigError(f"{word} is not a flag; write keys without dashes: {key}{value}")


def _refuse_group(command: str, group: str, words: list[str]) -> None:
    value = value_of(group, words)
    if group == "scheme":
        advice = f"write sweep.scheme=[{value}]"
    else:
        advice = f"{program(command)} takes the {group} from the checkpoint"
        keys = {"dataset": "dataset.root=...", "trainer": "trainer.accelerator=..."}
        if group in keys:
            advice += f", and of its keys only some, such as {keys[group]}"
    raise ConfigError(f"{group}={value}: only {program('train')} has the group {group}; {advice}")


def _groups() -> list[str]:
    """Return the groups of options that are chosen by name."""
    return sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
