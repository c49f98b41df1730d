"""Why a training has ended."""

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Timer

ENDLESS = {"trainer.max_steps": "-1", "trainer.max_time": "null"}
"""Settings that end a training early, and the value with which they do not."""


def stopped_by(trainer: Trainer) -> str | None:
    """Return what has ended a training before the end of its last epoch, or None.

    It is the key of a setting, or `callbacks` if a callback has stopped the training. A trial
    with `fast_dev_run` counts as complete.
    """
    done = trainer.max_epochs is not None and trainer.current_epoch >= trainer.max_epochs
    if (done and trainer.is_last_batch) or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return None
    if 0 <= trainer.max_steps <= trainer.global_step:
        return "trainer.max_steps"
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    timers = [callback for callback in callbacks if isinstance(callback, Timer)]
    left = [timer.time_remaining() for timer in timers]
    if any(seconds is not None and seconds <= 0 for seconds in left):
        return "trainer.max_time"
    return "callbacks" if trainer.should_stop else None
