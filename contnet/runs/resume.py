"""Going on where a run or a sweep was stopped."""

import json
import logging
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from contnet.errors import ConfigError, Refusal
from contnet.processes import rank

LAST = Path("checkpoints") / "last.ckpt"
RECORD = Path(".hydra")
OVERRIDES = RECORD / "overrides.yaml"
CHOICES = RECORD / "hydra.yaml"

log = logging.getLogger(__name__)


class RunFolder(Callback):
    """Keeps the folder of a training run from being taken for another. What is recorded in it of its configuration goes
    with its checkpoint: a command that ends before it has written one leaves both as they were."""

    _earlier: ClassVar[dict[Path, tuple[int | None, dict[Path, bytes]]]] = {}
    """When the checkpoint of each run that is there was written, and its record."""

    def on_run_start(
        self, config: DictConfig, config_name: str | None = None, **kwargs: Any
    ) -> None:
        if rank() > 0:
            return
        HydraConfig.instance().set_config(
            config
        )  # for folders that are named by something of Hydra's
        folder = Path(config.hydra.run.dir)
        checkpoint = config.get("ckpt_path") if config_name == "train" else None
        resuming = (
            checkpoint is not None and Path(str(checkpoint)).resolve() == (folder / LAST).resolve()
        )
        if (folder / LAST).exists() and not resuming:
            raise Refusal(
                f"hydra.run.dir must be another folder than {str(folder)!r}, which holds a run; "
                f"{command_to_resume(folder)} continues that one"
            )
        self._remember([folder / LAST])

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if rank() > 0:
            return
        HydraConfig.instance().set_config(config)
        self._remember(Path(config.hydra.sweep.dir).rglob(str(LAST)))

    def _remember(self, checkpoints: Iterable[Path]) -> None:
        folders = [path.absolute().parents[1] for path in checkpoints if path.exists()]
        RunFolder._earlier = {
            folder: (
                _time_of(folder),
                {file: file.read_bytes() for file in (folder / RECORD).glob("*.yaml")},
            )
            for folder in folders
        }

    @staticmethod
    def restore() -> None:
        """Put back the records of runs whose checkpoints are still those from before this command. Called in the
        process that the command has started, so that it does not matter where a launcher runs the jobs of a sweep."""
        for folder, (time, record) in RunFolder._earlier.items():
            if _time_of(folder) == time:
                for file, content in record.items():
                    file.write_bytes(content)
        RunFolder._earlier = {}


def _time_of(folder: Path) -> int | None:
    last = folder / LAST
    return last.stat().st_mtime_ns if last.exists() else None


def with_newest_checkpoint(overrides: list[str]) -> list[str]:
    """`ckpt_path=last` continues the newest run, or that in the given `hydra.run.dir`, in its folder and with its
    overrides beside those that are typed. What it changed of a group goes where another option is typed.

    Raises:
        ConfigError: if there is none, or a sweep is asked for.
    """
    if _value_of("ckpt_path", overrides) != "last":
        return overrides
    if {"-m", "--multirun"} & set(overrides):
        raise ConfigError(
            "ckpt_path=last is for a single run; a sweep goes on where it was by its own command"
        )
    given = _value_of("hydra.run.dir", overrides)
    found = (
        list(Path("outputs/train").glob(f"*/*/{LAST}")) if given is None else [Path(given) / LAST]
    )
    found = [path for path in found if path.exists()]
    if not found:
        where = "any folder of outputs/train" if given is None else given
        raise ConfigError(f"ckpt_path=last finds no {LAST} in {where}")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    folder = newest.parents[1]
    keys = set(map(key_of, overrides))
    chosen = _recorded(folder, CHOICES).hydra.runtime.choices
    replaced = tuple(
        f"{key}." for key in keys & set(chosen) if _value_of(key, overrides) != chosen[key]
    )
    kept = [
        o
        for o in overrides_of(folder)
        if key_of(o) not in keys and not key_of(o).startswith(replaced)
    ]
    kept += [override_of("ckpt_path", newest.absolute()), override_of("hydra.run.dir", folder)]
    # Where ckpt_path was typed: Hydra does not take overrides on both sides of one of its flags.
    place = [key_of(o) for o in overrides].index("ckpt_path")
    before, after = (
        [o for o in part if key_of(o) not in ("ckpt_path", "hydra.run.dir")]
        for part in (overrides[:place], overrides[place:])
    )
    return [*before, *kept, *after]


def overrides_of(folder: Path) -> list[str]:
    """What the run or the job in `folder` was started with.

    Raises:
        ConfigError: if that is not recorded there.
    """
    return [str(override) for override in _recorded(folder, OVERRIDES)]


def _recorded(folder: Path, file: Path) -> Any:
    try:
        return OmegaConf.load(folder / file)
    except OSError as error:
        raise ConfigError(
            f"hydra.run.dir must be the folder of a run; {str(folder)!r} has no {file}"
        ) from error


def _value_of(key: str, overrides: list[str]) -> str | None:
    """The value given for a key, of which the last holds; None where it has none, or is not to be understood."""
    given = [o for o in overrides if key_of(o) == key and "=" in o]
    try:
        return str(OverridesParser.create().parse_override(given[-1]).value()) if given else None
    except HydraException:  # which says so itself
        return None


def override_of(key: str, path: Path | str) -> str:
    """The override that gives a key a path, quoted as Hydra wants it where that is needed."""
    plain = f"{key}={path}"
    # A backslash is one, but in front of a quote.
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", str(path)).replace("'", r"\'")
    return plain if _value_of(key, [plain]) == str(path) else f"{key}='{escaped}'"


def key_of(override: str) -> str:
    """What an override is about, whether it changes, adds (+, ++) or deletes (~) that."""
    return override.partition("=")[0].lstrip("+~")


def command_to_resume(folder: Path | str) -> str:
    """The command that continues the training run in `folder`, as a shell takes it."""
    return f"python train.py ckpt_path=last {shlex.quote(override_of('hydra.run.dir', folder))}"


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
    if "error" in earlier or earlier.get("overrides") != list(hydra.overrides.task):
        return None
    log.info("job %s (%s) is finished already", hydra.job.num, " ".join(hydra.overrides.task))
    return earlier


def difference(config: DictConfig, earlier: dict[str, Any]) -> str | None:
    """What tells a checkpoint's configuration from this one, but for where it lies, what it is resumed from, and how it
    is watched: a key with both values; None if nothing does."""
    now = _deciding(OmegaConf.to_container(config, resolve=True, enum_to_str=True))
    then = _deciding(earlier)
    for key in [*now, *then]:
        if now.get(key) != then.get(key):
            return f"{key}: {then.get(key)}, here {now.get(key)}"
    return None


def _deciding(config: Any) -> dict[str, Any]:
    """What the result of a run depends on."""
    own = ("ckpt_path", "run_dir", "trainer.default_root_dir")
    return {
        key: value
        for key, value in flat(config).items()
        if key not in own
        and (not key.startswith(("callbacks", "logger")) or key.startswith("callbacks.ema"))
    }


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration with one dotted key for each value."""
    if not isinstance(config, dict):
        return {prefix.removesuffix("."): config}
    return {
        key: value
        for name in config
        for key, value in flat(config[name], f"{prefix}{name}.").items()
    }
