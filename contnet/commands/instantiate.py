"""Which names of a configuration are built."""

from collections.abc import Iterator
from typing import Any

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

# A configuration may come out of somebody else's checkpoint: nothing outside these is ever called.
TRUSTED = ("contnet.", "torch.optim.", "pytorch_lightning.", "torchmetrics.", "torchvision.")


def instantiate_trusted(config: DictConfig, **arguments: Any) -> Any:
    for target in _targets(OmegaConf.to_container(config, resolve=True)):
        if not target.startswith(TRUSTED) or not _is_at_home(target):
            raise ValueError(
                f"_target_ must name something of {', '.join(TRUSTED)}; got {target!r}"
            )
    return instantiate(config, _convert_="all", **arguments)


def _is_at_home(target: str) -> bool:
    """Whether what a name leads to belongs to a trusted package, and is not just something that one of them imports."""
    try:
        home = getattr(get_object(target), "__module__", None)
    except Exception:  # there is no such thing: Hydra says so better
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
