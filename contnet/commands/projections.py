"""Projections as runs: each is saved in a folder of its own, from which train.py resumes it."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from contnet.commands.grammar import program
from contnet.commands.overrides import command_to_resume
from contnet.invariance.plan import Plan
from contnet.invariance.result import measured
from contnet.invariance.study import Study
from contnet.ode.basis import Basis
from contnet.ode.depth_time import depth_time
from contnet.ode.projection import project
from contnet.runs import checkpoint as checkpoints
from contnet.runs.checkpoint import Record
from contnet.runs.folder import LAST, RECORD, check_own_files, relative, run_of
from contnet.training.transplant import with_network

log = logging.getLogger(__name__)


def save_projections(config: DictConfig, plan: Plan, studies: Sequence[Study]) -> None:
    """Save each projection of the networks as a run, and log how to resume it.

    The new run has the record of the run that trained the network. Its number of steps is that of
    the plan if the plan names exactly one, and otherwise that of training. A folder that already
    holds a run is not changed: the projection may have been trained since it was saved. A
    projection that is no better than chance is saved with a warning.

    Raises:
        OSError: if a file cannot be written.
    """
    for number, study in enumerate(studies):
        subject = study.subject
        bases = plan.projections(subject.network)
        if not bases:
            log.info(
                f"nothing to save of {subject.name}: it already has the basis that project asks "
                "for, or it has no depth-time"
            )
        for basis in bases:
            name = f"{basis.name}-{basis.n_basis}"
            folder = Path(config.run_dir, f"{number}-{name}" if len(studies) > 1 else name)
            if (folder / LAST).exists():
                log.warning(
                    f"{relative(folder)} holds a run, which is left as it is: {basis} is not "
                    "saved; choose another hydra.run.dir to save it"
                )
            else:
                _save(subject.name, _projected(subject.network, basis, plan), basis, folder)
                _warn_of_chance(study, basis, plan)


def _warn_of_chance(study: Study, basis: Basis, plan: Plan) -> None:
    """Warn if a projection is no better than chance in the manifestation that it is saved in."""
    of_basis = [r for r in study.results if r.projected and r.basis == basis and not r.recalibrated]
    as_saved = plan.n_time_steps[0] if plan.n_time_steps and len(plan.n_time_steps) == 1 else None
    own = study.trained.manifestation
    if as_saved is not None:
        own = replace(own, n_time_steps=as_saved)
    of_basis = [r for r in of_basis if r.manifestation == own] or of_basis
    best = max((figures.accuracy for _, figures in measured(of_basis)), default=0.0)
    if best <= study.chance:
        log.warning(
            f"{basis} is at chance: its accuracy is {100 * best:.1f} %, and chance explains up to "
            f"{100 * study.chance:.1f} %; project onto more nodes or another basis, or train it on"
        )


def _projected(network: nn.Module, basis: Basis, plan: Plan) -> nn.Module:
    projected = project(network, basis.n_basis, basis.name)
    if plan.n_time_steps and len(plan.n_time_steps) == 1:
        depth = depth_time(projected)
        assert depth is not None, "a network without ODE blocks has no projection"
        depth.set_manifestation(n_time_steps=plan.n_time_steps[0])
    return projected


def _save(path: str, network: nn.Module, basis: Basis, folder: Path) -> None:
    """Save the run of the checkpoint at `path` with another network, and log how to resume it."""
    checkpoint = checkpoints.load(path)
    run = run_of(Path(path).resolve())
    checkpoints.save(folder / LAST, with_network(checkpoint, network))
    if (run / RECORD).exists():
        check_own_files(run)
        (folder / RECORD).mkdir(exist_ok=True)
        for file in (run / RECORD).glob("*.yaml"):
            shutil.copyfile(file, folder / RECORD / file.name)
        command = command_to_resume(relative(folder))
    else:
        last = relative(folder / LAST)
        command = f"{program('train')} ckpt_path={last}, with the overrides of its run and"
    if _needs_other_gradient(checkpoint, basis):
        command += " scheme.gradient=backprop"
    log.info(f"saved {basis}; to train an epoch more: {command} epochs={checkpoint['epoch'] + 2}")


def _needs_other_gradient(checkpoint: dict[str, Any], basis: Basis) -> bool:
    """Return True if a run uses the adjoint, which does not support the basis."""
    gradient = (Record.of(checkpoint).config.get("scheme") or {}).get("gradient")
    return gradient == "adjoint" and basis.combines
