"""The configuration of a checkpoint, as far as a command may build from it."""

import os
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from contnet.errors import ConfigError
from contnet.runs.checkpoint import Record
from contnet.runs.trust import DOWNLOADED, LISTED, check_node


def recorded_config(
    path: str, record: Record, trusted: Sequence[str], dataset: DictConfig | None = None
) -> DictConfig:
    """Return the configuration of a checkpoint, of which networks and data may be built.

    Args:
        path: the checkpoint, for messages.
        record: its record, in which the schema of checkpoints has found no interpolation.
        trusted: the modules that the user trusts.
        dataset: keys that replace those of the data set, where they are not None.

    Raises:
        ConfigError: if the record names something that a checkpoint may not have built, or the data
            set has no such key.
    """
    typed = {str(key): value for key, value in (dataset or {}).items() if value is not None}
    recorded = record.config["dataset"]
    for key in typed:
        if key not in recorded:
            target = recorded["_target_"]
            raise ConfigError(f"dataset.{key} must be left out: {target} has no {key}")
    wanted = {**_within_this_machine(recorded), **typed}
    if wanted["_target_"] in DOWNLOADED:
        wanted["download"] = "root" in typed  # a file may not have anything downloaded
    config = OmegaConf.create({**record.config, "dataset": wanted})
    # Checked as it is built, and not as it is recorded: OmegaConf may read a container otherwise.
    plain: Any = OmegaConf.to_container(config)
    for key in LISTED:
        check_node(path, key, plain[key], trusted)
    return config


def _within_this_machine(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return a data set that asks for no more processes and memory than this machine has."""
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    most = {"num_workers": os.cpu_count() or 1, "memory_gb": memory_gb / 2}
    bounded = {
        key: min(dataset[key], limit) for key, limit in most.items() if dataset.get(key) is not None
    }
    return {**dataset, **bounded}
