"""The services and pictures that follow runs: what they need, and the end of a run there.

This module is imported before torch is.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from omegaconf import DictConfig, OmegaConf

from contnet.errors import ConfigError

NEEDED = {"wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
"""The packages that each extra installs, one extra for each logger."""


def check_installed(config: DictConfig) -> None:
    """Check that the packages of the chosen loggers are installed.

    Raises:
        ConfigError: if one is missing.
    """
    for extra, packages in NEEDED.items():
        if not OmegaConf.select(config, f"logger.{extra}"):
            continue
        for package in packages:
            if not _is_installed(package):
                raise ConfigError(
                    f"logger={extra} needs the package {package}; "
                    f"install it with pip install 'contnet[{extra}]'"
                )


def without_pictures(config: DictConfig) -> DictConfig:
    """Return a configuration without the callbacks that draw pictures, for a short trial."""
    config = config.copy()
    for name, options in (config.get("callbacks") or {}).items():
        if options and ".callbacks.pictures." in str(options.get("_target_")):
            OmegaConf.update(config, f"callbacks.{name}", None)
    return config


def _is_installed(package: str) -> bool:
    # A folder of that name, such as wandb's own for its files, would be found as a package as well.
    found = find_spec(package)
    return found is not None and found.origin is not None


@contextmanager
def own_run() -> Iterator[None]:
    """End the run of wandb that a job has started, so that the next job starts one of its own."""
    try:
        yield
    except BaseException:
        _end_run(exit_code=1)
        raise
    _end_run(exit_code=0)


def _end_run(exit_code: int) -> None:
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=exit_code)
