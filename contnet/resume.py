"""Going on where a run or a sweep was stopped."""

import json
import logging
import shlex
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from contnet.errors import ConfigError

LAST = Path("checkpoints") / "last.ckpt"
OVERRIDES = Path(".hydra") / "overrides.yaml"

log = logging.getLogger(__name__)


def check_folder(program: str, overrides: list[str]) -> None:
    """Keep the folder of a training run from being taken for another.

    Raises:
        ConfigError: if the given `hydra.run.dir` holds a run that is not to be continued.
    """
    resuming = program == "train" and "ckpt_path" in map(key_of, overrides)
    options = {"-m", "--multirun", "--cfg", "-c", "--help", "--info", "-i"}
    given = _run_folders(overrides)
    if given and not resuming and not options & set(overrides) and (Path(given[-1]) / LAST).exists():
        raise ConfigError(
            f"hydra.run.dir must be another folder than {given[-1]!r}, which holds a run; "
            f"{command_to_resume(given[-1])} continues that one"
        )


def recorded(overrides: list[str]) -> dict[Path, bytes]:
    """What the given `hydra.run.dir` holds of an earlier run's configuration."""
    given = _run_folders(overrides)
    files = (Path(given[-1]) / OVERRIDES.parent).glob("*.yaml") if given else []
    return {file: file.read_bytes() for file in files}


def with_newest_checkpoint(overrides: list[str]) -> list[str]:
    """`ckpt_path=last` continues the newest run, or that in the given `hydra.run.dir`, in its folder and with its
    overrides, in front of those that are typed.

    Raises:
        ConfigError: if there is none.
    """
    if "ckpt_path=last" not in overrides:
        return overrides
    given = _run_folders(overrides)
    found = [Path(given[-1]) / LAST] if given else list(Path("outputs/train").glob(f"*/*/{LAST}"))
    found = [path for path in found if path.exists()]
    if not found:
        where = given[-1] if given else "any folder of outputs/train"
        raise ConfigError(f"ckpt_path=last finds no {LAST} in {where}")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    folder = newest.parents[1]
    recorded = OmegaConf.load(folder / OVERRIDES)
    typed = [o for o in overrides if o != "ckpt_path=last" and key_of(o) != "hydra.run.dir"]
    keys = {key_of(o) for o in typed} | {"ckpt_path"}
    kept = [str(o) for o in recorded if key_of(str(o)) not in keys]
    return [*kept, *typed, f"ckpt_path='{newest}'", f"hydra.run.dir='{folder}'"]


def _run_folders(overrides: list[str]) -> list[str]:
    """The values given for `hydra.run.dir`, in quotes or not, of which the last holds."""
    return [o.partition("=")[2].strip("'\"") for o in overrides if key_of(o) == "hydra.run.dir"]


def key_of(override: str) -> str:
    """What an override is about, whether it changes, adds (+, ++) or deletes (~) that."""
    return override.partition("=")[0].lstrip("+~")


def command_to_resume(folder: Path | str) -> str:
    """The command that continues the training run in `folder`, as a shell takes it."""
    return f"python train.py ckpt_path=last {shlex.quote(f'hydra.run.dir={folder}')}"


def how_to_resume(program: str, folder: Path) -> str:
    """The command that goes on with what was under way in `folder`."""
    if program == "evaluate":
        return "what is finished is kept: the same command goes on from there"
    if not (folder / LAST).exists():
        return "it had no checkpoint yet"
    relative = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    return f"to resume: {command_to_resume(relative)}"


def result_of_earlier_job() -> dict[str, Any] | None:
    """The result of this job of a sweep, if an earlier run of the same sweep has finished it."""
    hydra = HydraConfig.get()
    result = Path(hydra.runtime.output_dir) / "result.json"
    if hydra.mode != RunMode.MULTIRUN or not result.exists():
        return None
    earlier: dict[str, Any] = json.loads(result.read_text())
    if earlier.get("overrides") != list(hydra.overrides.task):
        return None
    log.info("job %s (%s) is finished already", hydra.job.num, " ".join(hydra.overrides.task))
    return earlier


def is_same_job(config: DictConfig, earlier: dict[str, Any]) -> bool:
    """Whether a checkpoint's configuration is this one, but for where it lies and what it is resumed from."""
    now = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    return _without_places(now) == _without_places(earlier)


def _without_places(config: Any) -> Any:
    return {key: value for key, value in config.items() if key not in ("ckpt_path", "run_dir", "callbacks", "logger")}
