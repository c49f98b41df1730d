"""From the configuration of evaluate.py to what it is about: networks, the plan of their study, a budget; and the
checkpoints of projected networks."""

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import Tensor

from contnet import arguments
from contnet.commands import build
from contnet.commands.failures import naming
from contnet.commands.restore import restore_network
from contnet.commands.rules import Rule, above_0, at_least_0
from contnet.data import ImageData
from contnet.data.normalise import Normalise
from contnet.errors import ConfigError
from contnet.invariance.budget import Budget
from contnet.invariance.convergence import N_SAMPLE
from contnet.invariance.manifestation import Manifestation
from contnet.invariance.outcome import Batches
from contnet.invariance.plan import Plan
from contnet.invariance.recalibration import N_IMAGES
from contnet.invariance.store import digest
from contnet.invariance.subject import Conditions, Subject
from contnet.ode.bases import BASES, make_basis
from contnet.ode.projection import project
from contnet.ode.schemes import ADAPTIVE_SCHEMES, SCHEMES
from contnet.runs import checkpoint as checkpoints
from contnet.runs import resume
from contnet.runs.checkpoint import Record
from contnet.runs.folder import relative
from contnet.runs.provenance import machine
from contnet.training.transplant import with_network

log = logging.getLogger(__name__)

COMPUTING = (
    "schemes.py",
    "combination.py",
    "basis.py",
    "integrate.py",
    "units.py",
    "ode_block.py",
    "projection.py",
    "networks/*.py",
    "data/*.py",
    "classifier.py",
    "invariance/outcome.py",
    "invariance/recalibration.py",
)
"""The modules that logits and latencies come from."""


def plan(config: DictConfig) -> Plan:
    """What `sweep` and `project` ask for."""
    names = [*SCHEMES, *ADAPTIVE_SCHEMES]
    asked = Plan(
        schemes=_listed(config, "scheme", partial(arguments.one_of, allowed=names)),
        n_time_steps=_listed(config, "n_time_steps", partial(arguments.integer, minimum=1)),
        rtol=_listed(config, "rtol", above_0),
        tolerance=_checked(config, "tolerance", at_least_0),
        recalibrate=_checked(config, "recalibrate", arguments.boolean),
        convergence=_checked(config, "convergence", arguments.boolean),
        n_basis=_listed(config, "n_basis", partial(arguments.integer, minimum=1), "project"),
        bases=_listed(config, "basis", partial(arguments.one_of, allowed=BASES), "project"),
    )
    with naming("project"):
        for basis, n_basis in product(asked.bases or [], asked.n_basis or []):
            make_basis(basis, n_basis)
    return asked


def budget(config: DictConfig) -> Budget | None:
    """The bounds that `sweep.budget` sets, if any."""
    conditions = _listed(config, "budget", lambda name, value: value)
    with naming("sweep"):
        return None if conditions is None else Budget.parse(conditions)


def strict(config: DictConfig) -> bool:
    """Whether a network that is not invariant is to end the command with a code of its own."""
    return _checked(config, "strict", arguments.boolean)


def saves(config: DictConfig) -> bool:
    """Whether the projections are to be written as checkpoints."""
    wanted: bool = _checked(config, "save", arguments.boolean, "project")
    if wanted and config.project.n_basis is None and config.project.basis is None:
        raise ConfigError(
            "project.save must be false without project.n_basis and project.basis, got true"
        )
    return wanted


def _checked(config: DictConfig, name: str, rule: Rule, group: str = "sweep") -> Any:
    with naming(group):
        return rule(name, config[group][name])


def _listed(config: DictConfig, name: str, rule: Rule, group: str = "sweep") -> list[Any] | None:
    """A list, of which a single value is short for one; None where the key is left out."""
    value = config[group][name]
    if value is None:
        return None
    values = list(value) if isinstance(value, ListConfig) else [value]
    if not values:
        raise ConfigError(f"{group}.{name} must name at least one, got []")
    with naming(group):
        return list(dict.fromkeys(rule(name, single) for single in values))


def evaluator(config: DictConfig, accelerator: str) -> Trainer:
    """A Trainer for its device and the precision that the run of `config` was trained in."""
    with naming("trainer"):
        precision = config.trainer.precision
        return Trainer(
            accelerator=accelerator,
            devices=1,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
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
            matches = [
                str(path) for path in Path(path.anchor).glob(str(path.relative_to(path.anchor)))
            ]
        if not matches:
            raise ConfigError(
                f"{key} must name at least one checkpoint; there is none at {str(name)!r}"
            )
        found += sorted(matches, key=_with_numbers)
    if not found:
        raise ConfigError(f"{key} must name at least one checkpoint, got []")
    return list(dict.fromkeys(found))


def _with_numbers(path: str) -> list[Any]:
    """Sorts job 10 after job 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


def subjects(config: DictConfig, plan: Plan) -> tuple[list[Subject], list[Subject]]:
    """The networks that `ckpt_path` and `sweep.reference` name, each with the images that it is to be evaluated on."""
    loaded: dict[str, ImageData] = {}
    paths = checkpoint_paths("ckpt_path", config.ckpt_path)
    references = (
        checkpoint_paths("sweep.reference", config.sweep.reference)
        if config.sweep.reference
        else []
    )
    studied = [_subject(path, config, loaded) for path in paths]
    for subject in studied:
        with naming("project"):
            plan.projections(subject.network)
        with naming("sweep"):
            plan.manifestations(subject.network)
    return studied, [_subject(path, config, loaded) for path in references]


def _subject(path: str, config: DictConfig, loaded: dict[str, ImageData]) -> Subject:
    checkpoint = checkpoints.load(path)
    record = Record.of(checkpoint)
    trained = checkpoints.trained_config(record, config.dataset)
    same_data = OmegaConf.to_yaml(trained.dataset, resolve=True)
    if same_data not in loaded:
        loaded[same_data] = build.data(trained, train=False)
    images = loaded[same_data]
    if images.classes != record.classes:
        raise ConfigError(
            f"dataset.root must hold the classes that {path!r} was trained on, "
            f"{_few(record.classes)}; it holds {_few(images.classes)}"
        )
    trainer = evaluator(trained, config.trainer.accelerator)
    device = trainer.strategy.root_device
    normalise = Normalise(images.mean, images.std, channels_last=trained.channels_last)
    network = restore_network(checkpoint, trained, images).to(memory_format=normalise.memory_format)
    for module in (network, normalise):
        trainer.precision_plugin.convert_module(module).to(device).eval()
    loader: Any = images.test_loader()
    if images.test.in_memory:
        loader = [(pixels.to(device), labels.to(device)) for pixels, labels in loader]
    recalibration: list[Tensor] = []

    def training_images() -> Iterator[Tensor]:
        if not recalibration:
            recalibration.extend(batch for batch, _ in images.recalibration_loader(N_IMAGES))
        yield from (normalise(batch.to(device)) for batch in recalibration)

    with naming("sweep"):
        Manifestation.of(network)
    content = [
        Path(path).read_bytes(),
        OmegaConf.to_yaml(trained, resolve=True),
        images.test.fingerprint(),
    ]
    return Subject(
        name=path,
        network=network,
        classes=images.classes,
        conditions=Conditions(
            test=Batches(loader, normalise, device),
            sample=normalise(images.test_sample(N_SAMPLE).to(device)),
            training_images=training_images,
            precision=trainer.precision_plugin.test_step_context,
        ),
        identity=digest([*content, *_ground(device)]),
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" .. ({len(names)})" if len(names) > 3 else "")


def _ground(device: torch.device) -> list[Any]:
    """What a result depends on beside network and data: the machine, and the programs."""
    folder = Path(__file__).parent
    sources = [file.read_bytes() for pattern in COMPUTING for file in sorted(folder.glob(pattern))]
    return [device.type, machine(device), torch.__version__, *sources]


def save_projections(config: DictConfig, plan: Plan, subjects: Sequence[Subject]) -> None:
    """Write each projection as the run that its network is from, to go on with: a folder of its own, with a checkpoint
    and that run's record of its configuration; and say how. One that was saved before may have been trained since, and
    stays as it is.

    It has the steps that the plan asks for, if that is one number of them, else those of training.
    """
    for number, subject in enumerate(subjects):
        checkpoint = checkpoints.load(subject.name)
        record = Path(subject.name).resolve().parent.parent / resume.RECORD
        bases = plan.projections(subject.network)
        if not bases:
            log.info(
                f"nothing to save of {subject.name}: it has the nodes that project asks for, or none"
            )
        for basis in bases:
            name = f"{basis.name}-{basis.n_basis}"
            folder = Path(config.run_dir) / (f"{number}-{name}" if len(subjects) > 1 else name)
            if (folder / resume.LAST).exists():
                log.warning(
                    f"{relative(folder)} holds a run, which is left as it is: {basis} is not saved"
                )
                continue
            network = project(subject.network, basis.n_basis, basis.name)
            if plan.n_time_steps and len(plan.n_time_steps) == 1:
                replace(Manifestation.of(network), n_time_steps=plan.n_time_steps[0]).apply(network)
            checkpoints.save(folder / resume.LAST, with_network(checkpoint, network))
            if record.exists():
                shutil.copytree(record, folder / resume.RECORD, dirs_exist_ok=True)
            go_on = resume.command_to_resume(relative(folder))
            if not record.exists():
                go_on = f"python train.py ckpt_path={relative(folder / resume.LAST)}, with the overrides of its run and"
            if Record.of(checkpoint).config["scheme"]["gradient"] == "adjoint" and basis.combines:
                go_on += " scheme.gradient=backprop"
            log.info(
                f"saved {basis}; an epoch of fine-tuning: {go_on} epochs={checkpoint['epoch'] + 2}"
            )
