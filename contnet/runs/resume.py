"""The settings with which a run is resumed."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

OWN_KEYS = ("ckpt_path", "trust", "run_dir", "trainer.default_root_dir")
"""Keys that say where a run lies and what it is resumed from."""

WATCHING = ("callbacks", "logger")
"""Groups that watch a run. `callbacks.ema` is an exception: it changes the weights."""


def difference(config: DictConfig, earlier: dict[str, Any]) -> str | None:
    """Return the first key that differs between two configurations, with both values.

    Keys that say where a run lies, what it is resumed from and how it is watched do not count. If
    no other key differs, the result is None.

    Args:
        config: the configuration of this run.
        earlier: the configuration of an earlier run, resolved, in plain containers.
    """
    now = _decisive(OmegaConf.to_container(config, resolve=True, enum_to_str=True))
    then = _decisive(earlier)
    for key in [*now, *then]:
        if now.get(key) != then.get(key):
            return f"{key}: {then.get(key)}, here {now.get(key)}"
    return None


def _decisive(config: Any) -> dict[str, Any]:
    """Return the keys that the result of a run depends on."""
    return {key: value for key, value in flat(config).items() if _is_decisive(key)}


def _is_decisive(key: str) -> bool:
    watches = key.startswith(WATCHING) and not key.startswith("callbacks.ema")
    return key not in OWN_KEYS and not watches


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested dictionaries by dotted keys."""
    if not isinstance(config, dict):
        return {prefix.removesuffix("."): config}
    return {
        key: value
        for name in config
        for key, value in flat(config[name], f"{prefix}{name}.").items()
    }
