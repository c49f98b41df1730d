"""The LightningModule: a network, its loss, its metrics and its optimizer."""

import logging
from collections.abc import Callable
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
from contnet.networks.continuous import ContinuousNet
from contnet.runs.checkpoint import depth, make_room

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]


class Classifier(LightningModule):
    """Trains `network` on images (uint8) and labels by cross-entropy.

    Args:
        network: normalised images (N, C, H, W) -> logits (N, num_classes).
        normalise: from the data set's uint8 images to what the network sees.
        num_classes: number of classes.
        make_optimizer: network -> optimizer of its parameters.
        make_schedule: optimizer -> learning-rate schedule, as Lightning takes it.
        seed: of what is drawn at random while training.
        metadata: plain containers to keep in checkpoints under the key `contnet`.
        label_smoothing: share of each label that the training loss spreads over all classes (Szegedy et al. 2016); what
            is logged is the loss without.
        compile_for: training batches of this many images pass a compiled network; None compiles nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        normalise: Normalise,
        num_classes: int,
        make_optimizer: Callable[[nn.Module], Optimizer],
        make_schedule: Callable[[Optimizer], dict[str, Any]],
        metadata: dict[str, Any],
        seed: int = 0,
        label_smoothing: float = 0.0,
        compile_for: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=normalise.memory_format)
        self.normalise = normalise
        self.scores = nn.ModuleDict(
            {f"{split}_score": Score(num_classes) for split in ("train", "val", "test")}
        )
        self.make_optimizer = make_optimizer
        self.make_schedule = make_schedule
        self.metadata = metadata
        self.seed = seed
        self.label_smoothing = label_smoothing
        self.compile_for = compile_for
        self._eagerly = False
        self._logged_pass: tuple[str, int] | None = None

    def forward(self, images: Tensor) -> Tensor:
        # A last smaller batch and evaluation would each cost a compilation, and what is reported of a network must not
        # depend on how it was trained.
        self._eagerly = self.compile_for is not None and not (
            self.training and len(images) == self.compile_for
        )
        with self._stance():
            return self.network(self.normalise(images))

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        with (
            self._stance()
        ):  # with checkpoints and the adjoint, rates are evaluated on the way back, too
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
        # Metric objects, not numbers: Lightning then computes them once, at the end of the epoch, over all processes.
        # It has to be told of them once an epoch, which a resumed run does not begin with batch 0.
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
        self.recompile()

    def _check_that_all_nodes_learn(self) -> None:
        if not isinstance(self.network, ContinuousNet) or not self.network.unvisited:
            return
        nodes = ", ".join(map(str, self.network.unvisited))
        idle = f"{self.network.scheme.name} in {self.network.n_time_steps} steps never looks up node {nodes}"
        if self.trainer.world_size > 1:
            raise ConfigError(
                f"scheme must make use of all nodes to train on several devices; {idle}"
            )
        log.warning(
            f"{idle} of the {self.network.n_basis} with the basis {self.network.basis.name}: it will not learn"
        )

    def recompile(self) -> None:
        """Compile the network as it is now, if it is to be compiled at all."""
        if self.compile_for is None:
            return
        # Without a reset each depth would count against dynamo's limit of recompilations.
        torch._dynamo.reset()
        self.normalise.compile(dynamic=False)
        self.network.compile(
            **how_to_compile(self.network, self.device, self.trainer.accumulate_grad_batches)
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["contnet"] = {**self.metadata, "depth": depth(self.network)}
        if self._trainer is not None and not self.trainer.is_last_batch:
            # In the middle of an epoch: its metrics are sums that go on.
            checkpoint["contnet"]["train_score"] = self._train_score().gathered()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        make_room(self.network, checkpoint)
        sums = checkpoint["contnet"].get("train_score")
        if sums is not None:
            self._train_score().resume(sums, self.global_rank)

    def _train_score(self) -> Score:
        score = self.scores["train_score"]
        assert isinstance(score, Score)
        return score

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Dropout, if there is any, is a function of seed and batch, so that a resumed run draws what the other drew.
        seed = keyed_generator(
            self.seed, self.current_epoch, batch_idx, self.global_rank
        ).initial_seed()
        # Not torch.manual_seed, which formats a traceback for every kind of device that is not there.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)


def how_to_compile(
    network: nn.Module, device: torch.device, accumulate_grad_batches: int = 1
) -> dict[str, Any]:
    """The arguments of `torch.compile` for training: on a GPU CUDA graphs, where these can be.

    They put gradients and states where they put them the last time, so that none can be added up or computed again.
    """
    gradients = (
        {block.gradient for block in network.ode_blocks}
        if isinstance(network, ContinuousNet)
        else set()
    )
    as_graphs = device.type == "cuda" and accumulate_grad_batches == 1 and gradients <= {"backprop"}
    return {"dynamic": False, "mode": "reduce-overhead" if as_graphs else None}
