"""The hyper-parameters that TensorBoard shows beside the results of a run."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from contnet.commands.grammar import key_of
from contnet.commands.job import Job
from contnet.runs.resume import OWN_KEYS, flat

GROUPS = ("dataset", "model", "scheme", "manifestations", "optimizer", "lr_schedule")
"""Groups whose option is shown."""

KEYS = (
    "model.initial_time_d",
    "model.basis",
    "model.time_epsilon",
    "model.alpha",
    "model.depth",
    "model.widen_factor",
    "scheme.n_time_steps_per",
    "epochs",
    "dataset.batch_size",
    "optimizer.lr",
    "optimizer.weight_decay",
    "seed",
)
"""Keys whose value is shown."""

OF_BLOCKS = ("scheme", "manifestations")
"""Groups that mean nothing to a network of a fixed number of units."""

OF_PLACES = (*OWN_KEYS, "logger", "callbacks")
"""Keys, and groups of keys, that change no result."""


def columns(config: DictConfig, job: Job) -> dict[str, Any]:
    """Return the hyper-parameters that matter, and all others that the user has set, by key.

    A key that the run does not have is left out, and so is one whose value is null.
    """
    values = flat(OmegaConf.to_container(config, resolve=True, enum_to_str=True))
    typed = [key_of(override) for override in job.overrides]
    left_out = OF_PLACES if config.model.get("scheme") else (*OF_PLACES, *OF_BLOCKS)
    found = {}
    for key in dict.fromkeys([*GROUPS, *KEYS, *typed]):
        value = job.choices.get(key, values.get(key))
        if value is not None and not _is_in(key, left_out):
            found[key] = value if isinstance(value, bool | int | float | str) else str(value)
    return found


def _is_in(key: str, places: tuple[str, ...]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)
