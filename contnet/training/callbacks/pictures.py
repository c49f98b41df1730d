"""Pictures of a training in TensorBoard.

They are drawn only where TensorBoard is a logger, and change nothing of the training: neither
random numbers nor statistics of norms. A picture that fails is told in one line, and the training
goes on.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn

from contnet import arguments, drawing
from contnet.data.randomness import restored_generators
from contnet.drawing import Pixels
from contnet.ode.block import ODEBlock
from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import Scheme
from contnet.training.callbacks.tensorboard import TensorBoardRun, tensorboard_of

log = logging.getLogger(__name__)

N_IMAGES = 32
"""Images in the grid, and in the batch whose states are followed."""

MOST_VALUES = 2**24
"""Values of all states of a block that are kept at once: 64 MB in float32."""

MOST_CLASSES = 1000

TIMES = tuple(i / 32 for i in range(33))
"""Depth-times of the states that an adaptive scheme is asked for."""


def _show(trainer: Trainer, name: str, draw: Callable[[], Pixels | None]) -> bool:
    """Show a picture in TensorBoard, or say why there is none; return True after a failure."""
    logger = tensorboard_of(trainer)
    if logger is None:
        return False
    try:
        with restored_generators():
            picture = draw()
        if picture is not None:
            writer = logger.experiment
            writer.add_image(name, picture, trainer.global_step, dataformats="HWC")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning(f"no picture {name} in TensorBoard: {reason}")
        return True
    return False


class TrainingImages(Callback):
    """Shows the first batch of a training: augmented, as the network gets it, with its classes."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == 0 and batch_idx == 0:
            _show(trainer, "images/train", lambda: _grid(batch, pl_module.classes))


def _grid(batch: tuple[Tensor, Tensor], classes: tuple[str, ...]) -> Pixels:
    images, labels = (part[:N_IMAGES] for part in batch)
    return drawing.grid(images, [classes[label] for label in labels.tolist()])


class ConfusionMatrix(Callback):
    """Shows which classes of the test images are taken for which others.

    With more than 1,000 classes there is none.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None

    def on_test_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        n = len(pl_module.classes)
        self._counts = None
        # In all processes: they add up their counts.
        is_shown = any(isinstance(logger, TensorBoardRun) for logger in trainer.loggers)
        if n <= MOST_CLASSES and is_shown:
            self._counts = torch.zeros(n * n, dtype=torch.int64, device=pl_module.device)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._counts is not None:
            cells = batch[1] * len(pl_module.classes) + outputs.argmax(1)
            self._counts += torch.bincount(cells, minlength=len(self._counts))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._counts is None:
            return
        n = len(pl_module.classes)
        # Of all processes, so outside of what may fail in one of them.
        summed: Any = trainer.strategy.reduce(self._counts, reduce_op="sum")
        counts = summed.view(n, n).cpu()
        self._counts = None
        _show(trainer, "test/confusion", lambda: drawing.confusion(counts, pl_module.classes))


class StateNorms(Callback):
    """Shows how the states grow or shrink on their way through each ODE block.

    A curve is the root mean square of the state over depth-time, as a mean over a fixed batch: of
    validation images, or else of training images. Networks without ODE blocks have no picture.

    Args:
        every_n_epochs: epochs between two pictures; there is one after the last epoch as well.

    Raises:
        ValueError: if `every_n_epochs` is less than 1.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = arguments.integer("every_n_epochs", every_n_epochs, minimum=1)
        self._images: Tensor | None = None
        self._has_failed = False

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._images = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if not any(trainer.num_val_batches):
            self._keep(trainer, batch)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._keep(trainer, batch)

    def _keep(self, trainer: Trainer, batch: Any) -> None:
        if self._images is None and tensorboard_of(trainer) is not None:
            self._images = batch[0][:N_IMAGES].clone()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        due = epoch % self.every_n_epochs == 0 or epoch + 1 == trainer.max_epochs
        images = self._images
        if not due or images is None or self._has_failed:
            return
        self._has_failed = _show(
            trainer, "network/states", lambda: _states(trainer, pl_module, images)
        )


def _states(trainer: Trainer, pl_module: Any, images: Tensor) -> Pixels | None:
    depth = depth_time(pl_module.network)
    if depth is None:
        return None
    lines: dict[str, tuple[list[float], list[float]]] = {}

    def follow(block: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(block, ODEBlock)
        lines[f"block {len(lines) + 1}"] = _norms(block, arguments[0])

    # In the forward pass, so that types and compilation are those of the network.
    hooks = [block.register_forward_pre_hook(follow) for block in depth.blocks]
    try:
        with _evaluation(pl_module), trainer.precision_plugin.forward_context():
            pl_module(images)
    finally:
        for hook in hooks:
            hook.remove()
    shown = {name: line for name, line in lines.items() if line[0]}
    return drawing.curves(shown, "depth-time", "root mean square of the state") if shown else None


def _norms(block: ODEBlock, x: Tensor) -> tuple[list[float], list[float]]:
    """Return times, and the norms of the states there; nothing for states that are too large."""
    by_pair = block.settings.by_pair and block.gradient != "adjoint"
    n_states = len(TIMES) if by_pair else block.n_time_steps + 1
    n_images = MOST_VALUES // (n_states * x[0].numel())
    if n_images == 0:
        return [], []
    states = block.trajectory(x[:n_images], TIMES if by_pair else None)
    norms = states.flatten(2).float().square().mean(2).sqrt().mean(1)
    if by_pair:
        times = list(TIMES)
    elif isinstance(block.scheme, Scheme):
        times = [step / block.n_time_steps for step in range(len(norms))]
    else:
        times = [0.0, *(float(end) for _, end in block.basis.intervals)]
    return times, norms.tolist()


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    """Open a context in which a module learns nothing; each of its parts gets its mode back."""
    modes = {part: part.training for part in module.modules()}
    devices = [module.device] if module.device.type == "cuda" else []
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices, enabled=bool(devices)):
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
