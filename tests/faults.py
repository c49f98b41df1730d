"""Faults that tests inject into runs."""


def at_batch(epoch: int, batch: int, action: str) -> str:
    """Do something after a batch of training."""
    return f"""
import os, signal, torch
from contnet.training.callbacks.throughput import Throughput
original = Throughput.on_train_batch_end
def then(self, trainer, pl_module, outputs, batch, batch_idx):
    original(self, trainer, pl_module, outputs, batch, batch_idx)
    if (trainer.current_epoch, batch_idx) == ({epoch}, {batch}):
        {action}
Throughput.on_train_batch_end = then
"""
