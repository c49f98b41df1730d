"""Hydra's callback that claims the folder of a command, and protects those of other commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from contnet.commands.grammar import override_of
from contnet.commands.overrides import command_to_resume
from contnet.commands.session import Session, current
from contnet.errors import ConfigError, Refusal
from contnet.runs.claim import HeldError, claim, claim_new, claims_folders
from contnet.runs.folder import (
    LAST,
    PREVIOUS,
    RESULT,
    Snapshot,
    check_own_files,
    has_checkpoint,
    run_of,
)


class RunFolder(Callback):
    """Claims the folder of a command before Hydra or the command writes anything to it.

    A folder that is named for the time is a new one; the second command of a second gets one that
    ends in `-1`. A folder with a name of its own is refused while another command runs there. So is
    one that holds a run, except to resume it. Records that the command may overwrite are kept.

    Raises:
        Refusal: if the command may not write to its folder.
    """

    def on_run_start(
        self, config: DictConfig, config_name: str | None = None, **kwargs: Any
    ) -> None:
        session = _session_of(config)
        if session is None:
            return
        key = "hydra.run.dir"
        checkpoint = config.get("ckpt_path") if config_name == "train" else None
        folder = Path(config.hydra.run.dir)
        with _refusals(config, key):
            is_new = _is_named_for_the_time(config, key)
            if not is_new:
                _check_free(folder, checkpoint)
            folder = _claim(session, config, key)
            if not is_new:
                _check_free(folder, checkpoint)  # another command may have ended since
        session.folder = folder.absolute()
        if has_checkpoint(folder):
            session.snapshots = [Snapshot.of(folder)]

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        session = _session_of(config)
        if session is None:
            return
        with _refusals(config, "hydra.sweep.dir"):
            session.sweep = _claim(session, config, "hydra.sweep.dir")
        session.snapshots = [Snapshot.of(run_of(path)) for path in session.sweep.rglob(str(LAST))]


def _session_of(config: DictConfig) -> Session | None:
    """Return the session in the process that writes, and None in others."""
    session = current()
    if session is None or not claims_folders():
        return None
    # A folder may refer to other keys of Hydra's, which OmegaConf looks up in HydraConfig.
    HydraConfig.instance().set_config(config)
    return session


def _is_named_for_the_time(config: DictConfig, key: str) -> bool:
    plain: Any = OmegaConf.to_container(config.hydra, resolve=False)
    for name in key.split(".")[1:]:
        plain = plain[name]
    return "${now:" in str(plain)


def _claim(session: Session, config: DictConfig, key: str) -> Path:
    """Claim the folder of a key, and write the name that it has got into the configuration."""
    folder = Path(OmegaConf.select(config, key))
    if not _is_named_for_the_time(config, key):
        session.claims.append(claim(folder))
        return folder
    folder, held = claim_new(folder)
    session.claims.append(held)
    with read_write(config.hydra):
        OmegaConf.update(config, key, str(folder))
        # Hydra composes the configuration of each job of a sweep from its overrides.
        config.hydra.overrides.hydra.append(override_of(key, folder))
    HydraConfig.instance().set_config(config)
    return folder


@contextmanager
def _refusals(config: DictConfig, key: str) -> Iterator[None]:
    """Refuse what is wrong with the folder of a key: Hydra lets no other error pass."""
    folder = Path(OmegaConf.select(config, key))
    try:
        yield
    except HeldError as error:
        raise Refusal(f"{key} must be another folder than {str(folder)!r}, where {error}") from None
    except ConfigError as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(f"{key} must be a folder that can be written to; {error}") from error


def _check_free(folder: Path, checkpoint: Any) -> None:
    """Check that a folder holds no run, or the one that `checkpoint` resumes."""
    if not has_checkpoint(folder):
        if (folder / RESULT).exists():
            raise ConfigError(
                f"hydra.run.dir must be another folder than {str(folder)!r}, which holds a run "
                "without a checkpoint"
            )
        return
    own = [(folder / name).resolve() for name in (LAST, PREVIOUS)]
    if checkpoint is None or Path(str(checkpoint)).resolve() not in own:
        raise ConfigError(
            f"hydra.run.dir must be another folder than {str(folder)!r}, which holds a run; "
            f"{command_to_resume(folder)} continues that one"
        )
    check_own_files(folder)
