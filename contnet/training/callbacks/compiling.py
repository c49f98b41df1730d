"""Lines that say why the first batch of a compiled network takes long."""

import logging
import time
from typing import Any

from pytorch_lightning import Callback, Trainer

from contnet.ode.depth_time import depth_time
from contnet.training.callbacks.pace import duration

log = logging.getLogger(__name__)


class CompilationTime(Callback):
    """Announces that a network is compiled, and reports how long it took.

    A network is compiled in its first batch of full size, and in the first one after a refinement.
    """

    def __init__(self) -> None:
        self._refined_by = -1
        self._start: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._refined_by = -1

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        depth = depth_time(pl_module.network)
        refined_by = depth.refined_by if depth else 0
        is_whole = len(batch[1]) == pl_module.compile_for
        if not is_whole or refined_by == self._refined_by or not trainer.is_global_zero:
            return
        self._refined_by = refined_by
        log.info(
            f"compiling for batches of {pl_module.compile_for} images: about a minute for the "
            "default network, longer for deeper ones; seconds where torch has compiled the same "
            "before"
        )
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._start is not None:
            log.info(f"compiled in {duration(time.perf_counter() - self._start)}")
            self._start = None
