"""Faults that tests inject into training runs, each by its name.

A fault changes a callback of the run, in the process that trains.
`inject("stop_at_batch:1:7:SIGTERM")` calls `stop_at_batch(1, 7, "SIGTERM")`.
"""

import multiprocessing
import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import DictConfig
from pytorch_lightning import LightningModule, Trainer
from torch import distributed, nn

from contnet.commands import result
from contnet.training.callbacks.checkpointing import LastCheckpoint
from contnet.training.callbacks.throughput import Throughput

Action = Callable[[Trainer, LightningModule], None]


def inject(fault: str) -> None:
    """Inject the fault that a text names, with its arguments after colons."""
    name, *arguments = fault.split(":")
    globals()[name](*(int(text) if text.isdigit() else text for text in arguments))


def stop_at_batch(epoch: int, batch: int, name: str) -> None:
    """Send the process a signal after a batch."""
    _after_batch(epoch, batch, lambda trainer, module: _send(name))


def hang_up_at_batch(epoch: int, batch: int) -> None:
    """Send SIGHUP to the process and its children after a batch, as a closed terminal does."""
    _after_batch(epoch, batch, lambda *_: os.killpg(os.getpgrp(), signal.SIGHUP))


def stop_second_process_at_batch(epoch: int, batch: int, name: str) -> None:
    """Send the second of two processes a signal after a batch."""
    _after_batch(
        epoch, batch, lambda trainer, module: None if trainer.is_global_zero else _send(name)
    )


def kill_between_checkpoint_and_figures(epoch: int) -> None:
    """Kill the process when the checkpoint of an epoch is written, and its figures are not."""
    original = LastCheckpoint.on_train_epoch_end

    def then(self: LastCheckpoint, trainer: Trainer, module: LightningModule) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == epoch:
            _send("SIGKILL")

    LastCheckpoint.on_train_epoch_end = then


def kill_job(seed: int, epoch: int) -> None:
    """Kill the process in the first batch of an epoch, where the job of a sweep has the seed."""
    original = Throughput.on_train_batch_start

    def then(
        self: Throughput, trainer: Trainer, module: LightningModule, batch: object, index: int
    ) -> None:
        original(self, trainer, module, batch, index)
        if (module.seed, trainer.current_epoch) == (seed, epoch):
            _send("SIGKILL")

    Throughput.on_train_batch_start = then


def poison_weights_at_batch(epoch: int, batch: int) -> None:
    """Make weights of the network NaN after a batch."""
    _after_batch(
        epoch, batch, lambda _, module: module.network.head.linear.weight.data.fill_(torch.nan)
    )


def fill_disk_at_batch(epoch: int, batch: int) -> None:
    """Let the process write no file of more than 20 kB after a batch."""
    limits = (20_000, 20_000)
    _after_batch(epoch, batch, lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, limits))


def remove_folder_at_batch(epoch: int, batch: int, folder: str) -> None:
    """Remove a folder after a batch."""
    _after_batch(epoch, batch, lambda *_: shutil.rmtree(folder))


def kill_workers_at_batch(epoch: int, batch: int) -> None:
    """Kill the processes that prepare batches after a batch."""
    _after_batch(
        epoch,
        batch,
        lambda *_: [child.kill() for child in multiprocessing.active_children()],
    )


def exhaust_memory_at_batch(epoch: int, batch: int) -> None:
    """Ask for more memory than there is after a batch."""
    _after_batch(epoch, batch, lambda *_: torch.empty(10**15))


def fail_at_batch(epoch: int, batch: int) -> None:
    """Raise an error that nobody foresees after a batch."""
    _after_batch(epoch, batch, lambda *_: 1 / 0)


def keep_weights_of_each_process() -> None:
    """Write the final weights of each process to `rank0.pt`, `rank1.pt` in the run's folder."""

    def keep(config: DictConfig, network: nn.Module, *rest: object) -> dict[str, float]:
        rank = distributed.get_rank() if distributed.is_initialized() else 0
        torch.save(network.state_dict(), Path(config.run_dir, f"rank{rank}.pt"))
        return {}

    result.training = keep


def _after_batch(epoch: int, batch: int, action: Callable[..., object]) -> None:
    original = Throughput.on_train_batch_end

    def then(
        self: Throughput,
        trainer: Trainer,
        module: LightningModule,
        outputs: object,
        images: object,
        index: int,
    ) -> None:
        original(self, trainer, module, outputs, images, index)
        if (trainer.current_epoch, index) == (epoch, batch):
            action(trainer, module)

    Throughput.on_train_batch_end = then


def _send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))
