"""From checkpoints to objects: the network that one holds, and the images to evaluate it on.

A checkpoint may be somebody else's: nothing in it is executed, and its configuration passes the checks of `build`.
"""

import copy
import platform
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import Tensor, nn

from contnet import arguments, build, resume
from contnet.build import Rule, naming
from contnet.classifier import Normalise, make_room
from contnet.data import ImageData
from contnet.errors import ConfigError
from contnet.invariance.budget import Budget
from contnet.invariance.convergence import N_SAMPLE
from contnet.invariance.outcome import Batches
from contnet.invariance.recalibration import N_IMAGES
from contnet.invariance.store import digest
from contnet.invariance.study import Plan, Subject
from contnet.schemes import ADAPTIVE_SCHEMES, SCHEMES

METADATA = {"config", "classes", "depth"}
COMPUTING = (
    *("schemes.py", "basis.py", "integrate.py", "units.py", "ode_block.py", "networks/*.py", "data/*.py"),
    *("classifier.py", "invariance/outcome.py", "invariance/recalibration.py"),
)
"""The modules that logits and latencies come from."""


def load_checkpoint(path: str) -> dict[str, Any]:
    """A checkpoint of ours: Lightning's dictionary, with the run's configuration under `contnet`.

    Nothing in the file is executed: it is read with `weights_only=True`, and the configuration is plain containers.
    """
    if not Path(path).is_file():
        raise ConfigError(f"ckpt_path must be a checkpoint file; there is none at {path!r}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = "damaged or no checkpoint, or holds objects that would have to be executed to be read"
        raise ConfigError(f"ckpt_path must be a checkpoint that train.py wrote; {path!r} is {reason}") from error
    ours = checkpoint.get("contnet") if isinstance(checkpoint, dict) else None
    if not isinstance(ours, dict) or "state_dict" not in checkpoint or not ours.keys() >= METADATA:
        raise ConfigError(f"ckpt_path must be a checkpoint that train.py wrote; {path!r} is another program's")
    return checkpoint


def trained_config(checkpoint: dict[str, Any], dataset: DictConfig) -> DictConfig:
    """The configuration of the run that wrote a checkpoint, with what `dataset` gives in place of its own."""
    config = OmegaConf.create(checkpoint["contnet"]["config"])
    for key, value in ((str(key), value) for key, value in dataset.items()):
        if value is not None and key not in config.dataset:
            raise ConfigError(f"dataset.{key} must be left out: {config.dataset._target_} has no {key}")
        if value is not None:
            config.dataset[key] = value
    return config


def restore_network(checkpoint: dict[str, Any], config: DictConfig, data: ImageData) -> nn.Module:
    """The network that a checkpoint holds, with its weights."""
    restored = build.network(config, data)
    _load_weights(restored, checkpoint)
    return restored.to(memory_format=torch.channels_last)


def unfinished_job(config: DictConfig) -> DictConfig:
    """The configuration of a job of a sweep, resumed from the checkpoint of an earlier run of the same job if there is
    one."""
    last = Path(config.run_dir) / resume.LAST
    if HydraConfig.get().mode != RunMode.MULTIRUN or config.ckpt_path is not None or not last.exists():
        return config
    earlier = load_checkpoint(str(last))["contnet"]["config"]
    if resume.is_same_job(config, earlier):
        config = config.copy()
        config.ckpt_path = str(last)
    return config


def check_resumable(config: DictConfig, network: nn.Module) -> None:
    """Refuse to resume from a checkpoint that the network of the configuration cannot go on from."""
    if config.ckpt_path is None:
        return
    checkpoint = load_checkpoint(config.ckpt_path)
    _load_weights(copy.deepcopy(network), checkpoint)
    done = checkpoint["epoch"] + 1
    if config.trainer.max_epochs < done:
        raise ConfigError(f"epochs must be at least {done}, the epochs that ckpt_path has done, got {config.epochs}")


def _load_weights(network: nn.Module, checkpoint: dict[str, Any]) -> None:
    prefix = "network."
    weights = {key.removeprefix(prefix): v for key, v in checkpoint["state_dict"].items() if key.startswith(prefix)}
    make_room(network, checkpoint)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise ConfigError(
            f"ckpt_path must be a checkpoint of the network that model and dataset describe; {first[0].strip()}"
        ) from error


def plan(config: DictConfig) -> Plan:
    """What `sweep` asks for."""
    names = [*SCHEMES, *ADAPTIVE_SCHEMES]
    return Plan(
        schemes=_listed(config, "scheme", partial(arguments.one_of, allowed=names)),
        n_time_steps=_listed(config, "n_time_steps", partial(arguments.integer, minimum=1)),
        rtol=_listed(config, "rtol", build.above_0),
        tolerance=_checked(config, "tolerance", build.at_least_0),
        recalibrate=_checked(config, "recalibrate", arguments.boolean),
        convergence=_checked(config, "convergence", arguments.boolean),
    )


def budget(config: DictConfig) -> Budget | None:
    """The bounds that `sweep.budget` sets, if any."""
    conditions = _listed(config, "budget", lambda name, value: value)
    with naming("sweep"):
        return None if conditions is None else Budget.parse(conditions)


def strict(config: DictConfig) -> bool:
    """Whether a network that is not invariant is to end the command with a code of its own."""
    return _checked(config, "strict", arguments.boolean)


def _checked(config: DictConfig, name: str, rule: Rule) -> Any:
    with naming("sweep"):
        return rule(name, config.sweep[name])


def _listed(config: DictConfig, name: str, rule: Rule) -> list[Any] | None:
    """A list, of which a single value is short for one; None where the key is left out."""
    value = config.sweep[name]
    if value is None:
        return None
    values = list(value) if isinstance(value, ListConfig) else [value]
    if not values:
        raise ConfigError(f"sweep.{name} must name at least one, got []")
    with naming("sweep"):
        return list(dict.fromkeys(rule(name, single) for single in values))


def evaluator(config: DictConfig, accelerator: str) -> Trainer:
    """A Trainer for its device and the precision that the run of `config` was trained in."""
    with naming("trainer"):
        precision = config.trainer.precision
        return Trainer(
            accelerator=accelerator, devices=1, precision=precision, logger=False, enable_checkpointing=False
        )


def checkpoint_paths(key: str, value: Any) -> list[str]:
    """The checkpoints that the value of a key names: a file, a pattern, a folder (every last.ckpt below it), or a list
    of these."""
    found: list[str] = []
    for name in value if isinstance(value, ListConfig) else [value]:
        matches = [str(name)]
        if Path(str(name)).is_dir():
            matches = [str(path) for path in Path(str(name)).rglob("last.ckpt")]
        elif set("*?[") & set(str(name)) and not Path(str(name)).exists():
            path = Path(str(name))
            matches = [str(path) for path in Path(path.anchor).glob(str(path.relative_to(path.anchor)))]
        if not matches:
            raise ConfigError(f"{key} must name at least one checkpoint; there is none at {str(name)!r}")
        found += sorted(matches, key=_with_numbers)
    if not found:
        raise ConfigError(f"{key} must name at least one checkpoint, got []")
    return list(dict.fromkeys(found))


def _with_numbers(path: str) -> list[Any]:
    """Sorts job 10 after job 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


def subjects(config: DictConfig) -> tuple[list[Subject], list[Subject]]:
    """The networks that `ckpt_path` and `sweep.reference` name, each with the images that it is to be evaluated on."""
    loaded: dict[str, ImageData] = {}
    paths = checkpoint_paths("ckpt_path", config.ckpt_path)
    references = checkpoint_paths("sweep.reference", config.sweep.reference) if config.sweep.reference else []
    studied = [_subject(path, config, loaded) for path in paths]
    return studied, [_subject(path, config, loaded) for path in references]


def _subject(path: str, config: DictConfig, loaded: dict[str, ImageData]) -> Subject:
    checkpoint = load_checkpoint(path)
    trained = trained_config(checkpoint, config.dataset)
    same_data = OmegaConf.to_yaml(trained.dataset, resolve=True)
    if same_data not in loaded:
        loaded[same_data] = build.data(trained, train=False)
    images = loaded[same_data]
    if list(images.classes) != checkpoint["contnet"]["classes"]:
        raise ConfigError(
            f"dataset.root must hold the classes that {path!r} was trained on, "
            f"{_few(checkpoint['contnet']['classes'])}; it holds {_few(images.classes)}"
        )
    trainer = evaluator(trained, config.trainer.accelerator)
    device = trainer.strategy.root_device
    modules = (restore_network(checkpoint, trained, images), Normalise(images.mean, images.std))
    network, normalise = (trainer.precision_plugin.convert_module(module).to(device).eval() for module in modules)
    loader: Any = images.test_loader()
    if images.test.in_memory:
        loader = [(pixels.to(device), labels.to(device)) for pixels, labels in loader]
    recalibration: list[Tensor] = []

    def training_images() -> Iterator[Tensor]:
        if not recalibration:
            recalibration.extend(batch for batch, _ in images.recalibration_loader(N_IMAGES))
        yield from (normalise(batch.to(device)) for batch in recalibration)

    content = [Path(path).read_bytes(), OmegaConf.to_yaml(trained, resolve=True), images.test.fingerprint()]
    return Subject(
        name=path,
        network=network,
        classes=images.classes,
        test=Batches(loader, normalise, device),
        few=normalise(images.test_sample(N_SAMPLE).to(device)),
        training_images=training_images,
        precision=trainer.precision_plugin.test_step_context,
        identity=digest([*content, *_ground(device)]),
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" .. ({len(names)})" if len(names) > 3 else "")


def _ground(device: torch.device) -> list[Any]:
    """What a result depends on beside network and data: the machine, and the programs."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    folder = Path(__file__).parent
    sources = [file.read_bytes() for pattern in COMPUTING for file in sorted(folder.glob(pattern))]
    return [device.type, name, torch.get_num_threads(), torch.__version__, *sources]
