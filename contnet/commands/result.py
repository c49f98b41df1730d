"""The result of a finished training: `result.json`, and a table on the screen."""

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from rich.console import Console
from rich.table import Table
from torch import nn

from contnet.commands.job import Job
from contnet.commands.overrides import command_to_resume
from contnet.data import ImageData
from contnet.metrics import n_parameters
from contnet.ode.depth_time import depth_time
from contnet.runs.atomic import write_atomically
from contnet.runs.folder import RESULT, relative
from contnet.runs.provenance import git_commit, machine, versions
from contnet.training.callbacks.checkpointing import LastCheckpoint
from contnet.training.callbacks.pace import duration
from contnet.training.callbacks.tensorboard import tensorboard_of
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
    data: ImageData,
    started: datetime,
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
        data: the images that it was trained and tested on.
        started: the time at which the command started.

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
        **_depth(network, metrics),
        **_images(data),
        "precision": str(trainer.precision),
        "seed": config.seed,
        "overrides": list(job.overrides),
        "machine": machine(trainer.strategy.root_device),
        "versions": versions(),
        "git_commit": git_commit(),
        "started": started.isoformat(timespec="seconds"),
        "finished": now().isoformat(timespec="seconds"),
    }
    if trainer.is_global_zero:
        _close_loggers(trainer, throughput)
        folder = Path(config.run_dir)
        write_atomically(folder / RESULT, f"{json.dumps(result, indent=2)}\n".encode())
        _show(result, folder, job.start, _checkpoint(trainer))
    return result


def now() -> datetime:
    """Return the time, with the offset of this machine's time zone."""
    return datetime.now().astimezone()


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


def _depth(network: nn.Module, metrics: dict[str, Any]) -> dict[str, Any]:
    depth = depth_time(network)
    return {
        "scheme": depth.scheme.name if depth and depth.scheme else None,
        "basis": depth.basis.name if depth and depth.basis else None,
        "n_basis": depth.n_basis if depth else None,
        "n_time_steps": depth.n_time_steps if depth else None,
        # Of a forward pass through all blocks; the mean over the batches of the last epoch where
        # they differ.
        "n_f_evals": metrics.get("n_f_evals", depth.n_f_evals if depth else None),
    }


def _images(data: ImageData) -> dict[str, Any]:
    test = data.test
    return {
        "train_images": len(data.train),
        "val_images": 0 if data.val is None else len(data.val),
        "test_images": len(test),
        # Files would have to be read once more; by names and times they differ between machines.
        "test_digest": test.fingerprint().hex() if test.in_memory else None,
        **({"unreadable_images": data.n_unreadable} if any(data.n_unreadable.values()) else {}),
    }


def _close_loggers(trainer: Trainer, throughput: Throughput) -> None:
    tensorboard = tensorboard_of(trainer)
    if tensorboard is not None:
        tensorboard.log_metrics({"train_seconds": throughput.train_seconds}, trainer.global_step)
    for logger in trainer.loggers:
        logger.finalize("success")


def _show(result: dict[str, Any], folder: Path, start: Path, checkpoint: Path | None) -> None:
    table = Table("", "", show_header=False)
    table.columns[1].overflow = "fold"
    of_manifestations = [name for name in result if "_accuracy_" in name]
    for name in ("test_accuracy", "val_accuracy", *of_manifestations):
        if name in result:
            table.add_row(_words(name), f"{100 * result[name]:.2f} %")
    if "test_loss" in result:
        table.add_row("test loss", f"{result['test_loss']:.4f}")
    table.add_row("parameters", f"{result['parameters']:,}")
    table.add_row("training time", duration(result["train_seconds"]))
    table.add_row("speed", f"{result['images_per_second']:,.0f} images/s")
    if result["stopped_by"] is not None:
        table.add_row("stopped by", result["stopped_by"])
    table.add_row("written to", str(relative(folder, start)))
    if checkpoint is not None:
        table.add_row("checkpoint", str(relative(checkpoint, start)))
    Console(markup=False, emoji=False).print(table)  # names of folders are no markup


def _words(name: str) -> str:
    """Return `test accuracy euler_4` for `test_accuracy_euler_4`."""
    return " ".join(name.split("_", 2))
