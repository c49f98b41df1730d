"""The LightningModule: a network, its loss, its metrics and its optimizer."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from contnet.data.normalise import Normalise
from contnet.data.randomness import keyed_generator
from contnet.errors import ConfigError
from contnet.metrics import Score
from contnet.ode.depth_time import depth_time
from contnet.runs.checkpoint import Record, resize, steps_per_node
from contnet.training.schedulers import Spanning

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]


class Classifier(LightningModule):
    """Train `network` on images (uint8) and labels by cross-entropy.

    Args:
        network: normalised images (N, C, H, W) -> logits (N, num_classes).
        normalise: the data set's uint8 images -> network input.
        classes: names of the classes, in the order of the labels.
        make_optimizer: network -> optimizer of its parameters.
        make_schedule: optimizer -> learning-rate schedule, as Lightning takes it.
        config: the configuration of the run in plain containers, for its checkpoints.
        seed: seed of the random numbers drawn while training.
        label_smoothing: share of each label that the training loss spreads over all classes
            (Szegedy et al. 2016). The logged loss is not smoothed.
        compile_for: the number of images of the training batches for which the network is compiled;
            None compiles nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        normalise: Normalise,
        classes: Sequence[str],
        make_optimizer: Callable[[nn.Module], Optimizer],
        make_schedule: Callable[[Optimizer], dict[str, Any]],
        config: dict[str, Any],
        seed: int = 0,
        label_smoothing: float = 0.0,
        compile_for: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=normalise.memory_format)
        self.normalise = normalise
        self.classes = tuple(classes)
        self.scores = nn.ModuleDict(
            {f"{split}_score": Score(len(self.classes)) for split in ("train", "val", "test")}
        )
        self.make_optimizer = make_optimizer
        self.make_schedule = make_schedule
        self.config = config
        self.seed = seed
        self.label_smoothing = label_smoothing
        self.compile_for = compile_for
        self._eagerly = False
        self._logged_pass: tuple[str, int] | None = None

    def forward(self, images: Tensor) -> Tensor:
        # A smaller last batch would be compiled as well, and so would evaluation. Besides, the
        # reported figures of a network must not depend on how it was trained.
        self._eagerly = self.compile_for is not None and not (
            self.training and len(images) == self.compile_for
        )
        with self._stance():
            return self.network(self.normalise(images))

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        # Gradients by `checkpoint` and `adjoint` evaluate rates in the backward pass as well.
        with self._stance():
            super().backward(loss, *args, **kwargs)

    def _stance(self) -> AbstractContextManager[Any]:
        return torch.compiler.set_stance("force_eager") if self._eagerly else nullcontext()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self._step("train", batch, batch_idx)
        return nn.functional.cross_entropy(logits, batch[1], label_smoothing=self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step("val", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._step("test", batch, batch_idx)

    def _step(self, split: str, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        score: Any = self.scores[f"{split}_score"]
        logits = self(images)
        score.update(logits, labels)
        # Metric objects, not numbers: Lightning computes them once, at the end of the epoch and
        # over all processes. They are logged once an epoch; a resumed epoch does not begin with
        # batch 0.
        pass_ = (split, self.current_epoch)
        if batch_idx == 0 or pass_ != self._logged_pass:
            self._logged_pass = pass_
            metrics = {f"{split}_loss": score.loss, f"{split}_accuracy": score.accuracy}
            self.log_dict(
                metrics, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(labels)
            )
        return logits

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.network)
        return {"optimizer": optimizer, "lr_scheduler": self.make_schedule(optimizer)}

    def on_fit_start(self) -> None:
        self._check_that_all_nodes_learn()
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, Spanning) and self.trainer.max_epochs is not None:
                config.scheduler.span(self.trainer.max_epochs, self.trainer.max_steps)
        self.recompile()

    def _check_that_all_nodes_learn(self) -> None:
        depth = depth_time(self.network)
        for block in depth.blocks if depth else ():
            if not block.unvisited:
                continue
            nodes = ", ".join(map(str, block.unvisited))
            idle = f"{block.scheme.name} in {block.n_time_steps} steps never looks up node {nodes}"
            if self.trainer.world_size > 1:
                raise ConfigError(
                    f"scheme must make use of all nodes to train on several devices; {idle}"
                )
            log.warning(
                f"{idle} of the {block.n_basis} with the basis {block.basis.name}: "
                "it will not learn"
            )
            return

    def recompile(self) -> None:
        """Compile the network at its present depth, unless `compile_for` is None."""
        if self.compile_for is None:
            return
        # Without a reset each depth would count against the limit of recompilations.
        torch.compiler.reset()
        self.normalise.compile(dynamic=False)
        self.network.compile(
            **how_to_compile(self.network, self.device, self.trainer.accumulate_grad_batches)
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        depth = depth_time(self.network)
        position = None if self.trainer.is_last_batch else self._train_score().gathered()
        Record(self.config, self.classes, depth.depths if depth else (), position).put(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.resize(self.network, checkpoint)
        position = Record.of(checkpoint).position
        if position is not None:
            self._train_score().resume(position)

    def resize(self, network: nn.Module, checkpoint: dict[str, Any]) -> None:
        """Resize a network of this run to the depth of a checkpoint: see `checkpoint.resize`."""
        resize(network, Record.of(checkpoint), steps_per_node(self.config))

    def _train_score(self) -> Score:
        score = self.scores["train_score"]
        assert isinstance(score, Score)
        return score

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Dropout is a function of seed, epoch and batch: a resumed run draws the same numbers.
        seed = keyed_generator(
            self.seed, self.current_epoch, batch_idx, self.global_rank
        ).initial_seed()
        # Not torch.manual_seed, which formats a traceback for each kind of device that is missing.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)


def how_to_compile(
    network: nn.Module, device: torch.device, accumulate_grad_batches: int = 1
) -> dict[str, Any]:
    """Return the arguments of `torch.compile` for training: CUDA graphs on a GPU, where possible.

    Each run of a CUDA graph overwrites the gradients and states of its last run. So gradients can
    be neither accumulated nor computed with recomputed states.
    """
    depth = depth_time(network)
    gradients = {block.gradient for block in depth.blocks} if depth else set()
    as_graphs = device.type == "cuda" and accumulate_grad_batches == 1 and gradients <= {"backprop"}
    return {"dynamic": False, "mode": "reduce-overhead" if as_graphs else None}
