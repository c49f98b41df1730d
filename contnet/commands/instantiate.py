"""Instantiation of the objects that a configuration names, from trusted packages only.

A configuration may come from somebody else's checkpoint. It names classes and functions to call, so
a name outside trusted packages is refused before anything is called.
"""

from collections.abc import Iterator
from typing import Any

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

TRUSTED = ("contnet.", "torch.optim.", "pytorch_lightning.", "torchmetrics.", "torchvision.")


def instantiate_trusted(config: DictConfig, **arguments: Any) -> Any:
    """Build the object that a configuration describes, with more arguments for its constructor.

    Raises:
        ValueError: if a `_target_` in it is not of a trusted package.
    """
    for target in _targets(OmegaConf.to_container(config, resolve=True)):
        if not target.startswith(TRUSTED) or not _is_at_home(target):
            raise ValueError(
                f"_target_ must name something of {', '.join(TRUSTED)}; got {target!r}"
            )
    return instantiate(config, _convert_="all", **arguments)


def _is_at_home(target: str) -> bool:
    """Return True unless a trusted module merely imports the object from elsewhere."""
    try:
        home = getattr(get_object(target), "__module__", None)
    except Exception:  # Hydra reports a name that does not exist
        return True
    return f"{home}.".startswith(TRUSTED)


def _targets(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if "_target_" in config:
            yield str(config["_target_"])
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from _targets(value)
