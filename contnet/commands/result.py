"""The result of a finished training: `result.json`, hyper-parameters for loggers, and a table."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from rich.console import Console
from rich.table import Table
from torch import nn

from contnet.commands.job import Job
from contnet.commands.overrides import command_to_resume
from contnet.metrics import n_parameters
from contnet.ode.depth_time import depth_time
from contnet.runs.atomic import write_atomically
from contnet.runs.folder import RESULT, relative
from contnet.runs.provenance import git_commit, machine, versions
from contnet.runs.resume import flat
from contnet.training.callbacks.checkpointing import LastCheckpoint
from contnet.training.callbacks.throughput import Throughput
from contnet.training.ending import ENDLESS, stopped_by

log = logging.getLogger(__name__)

SPLITS = ("train_", "val_", "test_")


def training(
    config: DictConfig,
    network: nn.Module,
    trainer: Trainer,
    throughput: Throughput,
    metrics: dict[str, Any],
    job: Job,
    ended_by: str | None,
    n_unreadable: dict[str, int],
) -> dict[str, Any]:
    """Write the result of a training, and show it on the screen.

    Args:
        config: the configuration of the run.
        network: the trained network.
        trainer: the Trainer that has trained and tested it.
        throughput: the callback that measured seconds of training and images per second.
        metrics: the metrics of the last epoch and of the test.
        job: the job that trained the network.
        ended_by: what ended the training early, or None: see `report_early_end`.
        n_unreadable: the number of images of train, val and test that were left out, because they
            cannot be read.

    Returns:
        The result, as it is written to `result.json`.
    """
    final = {name: float(value) for name, value in metrics.items() if name.startswith(SPLITS)}
    result = {
        **final,
        "parameters": n_parameters(network),
        "train_seconds": throughput.train_seconds,
        "images_per_second": throughput.images_per_second,
        "epochs": trainer.current_epoch,
        "stopped_by": ended_by,
        "dataset": job.choices.get("dataset"),
        "model": job.choices.get("model"),
        "debug": job.choices.get("debug") or None,
        **_depth(network),
        **({"unreadable_images": n_unreadable} if any(n_unreadable.values()) else {}),
        "seed": config.seed,
        "overrides": list(job.overrides),
        "machine": machine(trainer.strategy.root_device),
        "versions": versions(),
        "git_commit": git_commit(),
    }
    if trainer.is_global_zero:
        parameters = flat(OmegaConf.to_container(config, resolve=True))
        for logger in trainer.loggers:
            _log(logger, parameters, final)
        folder = Path(config.run_dir)
        write_atomically(folder / RESULT, f"{json.dumps(result, indent=2)}\n".encode())
        _show(result, folder, job.start, _checkpoint(trainer))
    return result


def report_early_end(trainer: Trainer, config: DictConfig, job: Job) -> str | None:
    """Log what has ended a training before its last epoch, and how to go on; return the key.

    It is None if the training is complete: see `ending.stopped_by`.
    """
    key = stopped_by(trainer)
    if key is None or not trainer.is_global_zero:
        return key
    value = OmegaConf.select(config, key)
    reason = "a callback" if key == "callbacks" else f"{key}={value}"
    line = (
        f"stopped by {reason} at step {trainer.global_step}, in epoch {trainer.current_epoch} of "
        f"{trainer.max_epochs}"
    )
    if _checkpoint(trainer) is not None:
        more = [f"{key}={ENDLESS[key]}"] if key in ENDLESS else []
        line += f"; to go on: {command_to_resume(relative(job.folder, job.start), *more)}"
    log.info(line)
    return key


def _checkpoint(trainer: Trainer) -> Path | None:
    """Return the checkpoint that holds the state of the run, or None if none was saved."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint) and callback.is_of_this_run:
            return callback.path
    return None


def _depth(network: nn.Module) -> dict[str, Any]:
    depth = depth_time(network)
    return {
        "scheme": depth.scheme.name if depth and depth.scheme else None,
        "basis": depth.basis.name if depth and depth.basis else None,
        "n_basis": depth.n_basis if depth else None,
        "n_time_steps": depth.n_time_steps if depth else None,
    }


def _log(logger: Logger, parameters: dict[str, Any], final: dict[str, float]) -> None:
    if isinstance(logger, TensorBoardLogger):  # shows test metrics next to hyper-parameters
        tested = {name: value for name, value in final.items() if name.startswith("test_")}
        logger.log_hyperparams(parameters, metrics=tested)
    logger.finalize("success")


def _show(result: dict[str, Any], folder: Path, start: Path, checkpoint: Path | None) -> None:
    table = Table("", "", show_header=False)
    table.columns[1].overflow = "fold"
    of_manifestations = [name for name in result if "_accuracy_" in name]
    for name in ("test_accuracy", "test_loss", "val_accuracy", *of_manifestations):
        if name in result:
            table.add_row(name, f"{result[name]:.4f}")
    table.add_row("parameters", f"{result['parameters']:,}")
    table.add_row("train_seconds", f"{result['train_seconds']:.1f}")
    table.add_row("images_per_second", f"{result['images_per_second']:,.0f}")
    if result["stopped_by"] is not None:
        table.add_row("stopped by", result["stopped_by"])
    table.add_row("written to", str(relative(folder, start)))
    if checkpoint is not None:
        table.add_row("checkpoint", str(relative(checkpoint, start)))
    Console().print(table)
