"""The LightningModule: a network, its loss, its metrics and its optimizer."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from contnet.data.normalise import Normalise
from contnet.data.preprocessing import Preprocessing
from contnet.data.randomness import keyed_generator
from contnet.metrics import Score
from contnet.ode import statistics
from contnet.ode.adaptive import Effort
from contnet.ode.depth_time import DepthTime, depth_time
from contnet.ode.manifestation import Manifestation
from contnet.runs.checkpoint import Record, resize, steps_per_node
from contnet.training.compilation import compile_network
from contnet.training.idle_nodes import check_that_all_nodes_learn, zero_of_idle_nodes
from contnet.training.manifestations import RandomManifestations, cheapest, finest
from contnet.training.panel import Panel
from contnet.training.schedulers import Spanning

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
        manifestations: the set that a manifestation is drawn from for each training batch; None
            trains in the one that the network has. Validation and test report accuracies of the
            set as well, and each manifestation has batch-norm statistics of its own.
        preprocessing: the shape of the images, and their normalisation, for checkpoints.
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
        manifestations: RandomManifestations | None = None,
        preprocessing: Preprocessing | None = None,
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
        self.manifestations = manifestations
        self.preprocessing = preprocessing
        self.effort: Effort | None = None
        """What the last training batch cost, where batches differ in it."""
        self.panel = Panel(len(self.classes))
        self.provide_statistics(self.network)
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
        depth = depth_time(self.network)
        idle: Tensor | float = 0.0
        with self._drawn(depth, batch_idx):
            logits = self._step("train", batch, batch_idx)
            if depth is not None:
                varies = self.manifestations is not None or depth.is_adaptive
                self.effort = depth.effort if varies else None
                idle = zero_of_idle_nodes(depth) if self.manifestations is not None else 0.0
        loss = nn.functional.cross_entropy(logits, batch[1], label_smoothing=self.label_smoothing)
        return loss + idle

    def _drawn(self, depth: DepthTime | None, batch_idx: int) -> AbstractContextManager[None]:
        """Open a context in which the network has the manifestation that is drawn for a batch."""
        if depth is None or self.manifestations is None:
            return nullcontext()
        epoch = self.current_epoch
        return depth.manifested(self.manifestations.drawn(epoch, batch_idx, depth.refined_by))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._judge("val", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._judge("test", batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        if self._members(self.network):
            score: Any = self.scores["val_score"]
            metrics = [score.accuracy, *self.panel.accuracies.values()]
            accuracies = torch.stack([accuracy.compute() for accuracy in metrics])
            self.log("val_accuracy_mean", accuracies.mean())
            self.log("val_accuracy_min", accuracies.min())

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

    def _judge(self, split: str, batch: Batch, batch_idx: int) -> Tensor:
        """Score a batch in the present manifestation and those of the set; return its logits."""
        logits = self._step(split, batch, batch_idx)
        depth = depth_time(self.network)
        members = self._members(self.network)
        if depth is None or not members:
            return logits
        if batch_idx == 0:
            of_all = {f"{one.name}_{one.n_time_steps}": one for one in members}
            # Each epoch has a validation, so it must cost little.
            few = {"cheapest": cheapest(members), "finest": finest(members)}
            self.panel.begin(of_all if split == "test" else few, self.device)
            for name, accuracy in self.panel.accuracies.items():
                self.log(
                    f"{split}_accuracy_{name}",
                    accuracy,
                    on_step=False,
                    on_epoch=True,
                    batch_size=len(batch[1]),
                    metric_attribute=f"panel.scores.{name}.accuracy",
                )
        self.panel.update(self.forward, depth, *batch, logits)
        return logits

    def _members(self, network: nn.Module) -> tuple[Manifestation, ...]:
        depth = depth_time(network)
        if self.manifestations is None or depth is None:
            return ()
        return self.manifestations.members(depth.refined_by)

    def provide_statistics(self, network: nn.Module) -> None:
        """Let the norms of a network of this run keep statistics of each manifestation."""
        members = self._members(network)
        if statistics.provided(network) != members:
            statistics.provide(network, members)

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.network)
        return {"optimizer": optimizer, "lr_scheduler": self.make_schedule(optimizer)}

    def on_fit_start(self) -> None:
        if self.manifestations is None:
            check_that_all_nodes_learn(self.network, self.trainer.world_size)
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, Spanning) and self.trainer.max_epochs is not None:
                config.scheduler.span(self.trainer.max_epochs, self.trainer.max_steps)
        self.provide_statistics(self.network)  # a checkpoint may have had those of another set
        self.recompile()

    def recompile(self) -> None:
        """Compile the network at its present depth, unless `compile_for` is None."""
        if self.compile_for is None:
            return
        self.normalise.compile(dynamic=False)
        compile_network(
            self.network,
            self.device,
            self.trainer.accumulate_grad_batches,
            in_parts=self.manifestations is not None,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        depth = depth_time(self.network)
        position = None if self.trainer.is_last_batch else self._train_score().gathered()
        Record(
            self.config,
            self.classes,
            depth.depths if depth else (),
            position,
            statistics.provided(self.network),
            self.preprocessing,
        ).put(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning does so after it has loaded the weights, which would be rounded.
        self.trainer.precision_plugin.convert_module(self.network)
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
