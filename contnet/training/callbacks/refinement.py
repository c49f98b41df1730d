"""Depth refinement while training (Queiruga et al. 2020, section 4).

A network starts shallow, and its depth is doubled on schedule. theta(t) remains the function that
it was, so training continues from that network. Its optimizer continues likewise: a new node
is a weighted sum of old ones, mostly a copy, and its momentum becomes the same sum of theirs.
Parameter groups, learning rate and schedule stay as they are.
"""

import copy
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import BaseFinetuning, StochasticWeightAveraging, WeightAveraging
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from contnet import arguments
from contnet.data.randomness import keyed_generator
from contnet.metrics import Score, n_parameters
from contnet.ode.block import Origin
from contnet.ode.combination import weighted_sum
from contnet.ode.depth_time import DepthTime, depth_time

log = logging.getLogger(__name__)

# They keep copies of the parameters that the network had when training started.
UNABLE_TO_FOLLOW = (BaseFinetuning, StochasticWeightAveraging, WeightAveraging)


@dataclass(frozen=True)
class Snapshot:
    """A network before or after a refinement: nodes of each ODE block, parameters, accuracy."""

    nodes: str
    n_parameters: int
    accuracy: float


class DepthRefinement(Callback):
    """Refines every ODE block at the start of the epochs in `epochs`, counted from 0.

    A refined block has the next finer basis and twice the steps. The network counts its
    refinements, and its checkpoints keep the count. So a resumed run refines at the same epochs as
    one that was never stopped.

    Args:
        epochs: epochs to refine at, in increasing order.
        n_epochs: length of the run.
        variance: when refining, every weight and bias of the nodes' convolutions is multiplied by
            1 + variance N(0, 1).
        optimizer_state: `carry` gives new nodes the momenta of the old ones; `reset` drops all
            momenta, like the original code.
        seed: seed of that noise.
        probe: batches of images and labels to report the accuracy on, before and after.
        probe_name: the name of the probe in the report.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        epochs: Sequence[int],
        n_epochs: int,
        variance: float,
        optimizer_state: str,
        seed: int,
        probe: Iterable[tuple[Tensor, Tensor]],
        probe_name: str,
    ) -> None:
        self.epochs = arguments.epochs("epochs", epochs, n_epochs)
        self.variance = arguments.number("variance", variance, minimum=0)
        self.optimizer_state = arguments.one_of(
            "optimizer_state", optimizer_state, ("carry", "reset")
        )
        self.seed = seed
        self.probe = probe
        self.probe_name = probe_name

    def n_due(self, epoch: int) -> int:
        """Return the number of refinements that a network has had when it trains this epoch."""
        return sum(refined_at <= epoch for refined_at in self.epochs)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        depth = depth_time(pl_module.network)
        assert depth is not None, "a network without ODE blocks has no depth to refine"
        while depth.n_refined < self.n_due(trainer.current_epoch):
            self._refine(trainer, pl_module, depth)

    def _refine(self, trainer: Trainer, pl_module: Any, depth: DepthTime) -> None:
        before = self._snapshot(trainer, pl_module, depth)
        origins = depth.refine()
        if self.variance:
            perturb(depth, self.variance, keyed_generator(self.seed, trainer.current_epoch))
        for optimizer in trainer.optimizers:
            carry_state(
                optimizer, pl_module.network, origins, carry=self.optimizer_state == "carry"
            )
        pl_module.provide_statistics(pl_module.network)
        _wrap_again(trainer)
        pl_module.recompile()
        self._report(trainer, before, self._snapshot(trainer, pl_module, depth))

    def _snapshot(self, trainer: Trainer, pl_module: Any, depth: DepthTime) -> Snapshot:
        nodes = "-".join(str(block.n_basis) for block in depth.blocks)
        accuracy = self._accuracy(trainer, pl_module)
        return Snapshot(nodes, n_parameters(pl_module.network), accuracy)

    def _accuracy(self, trainer: Trainer, pl_module: Any) -> float:
        score = Score(len(pl_module.classes)).to(pl_module.device)
        was_training = pl_module.training
        pl_module.eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for images, labels in self.probe:
                score.update(pl_module(images.to(pl_module.device)), labels.to(pl_module.device))
        pl_module.train(was_training)
        return score.accuracy.compute().item()

    def _report(self, trainer: Trainer, before: Snapshot, after: Snapshot) -> None:
        line = (
            f"epoch {trainer.current_epoch}: refined {before.nodes} -> {after.nodes}, "
            f"{before.n_parameters:,} -> {after.n_parameters:,} parameters, "
            f"{self.probe_name} {before.accuracy:.4f} -> {after.accuracy:.4f}"
        )
        if trainer.is_global_zero:
            log.info(line)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("refinement", line, global_step=trainer.global_step)


def perturb(depth: DepthTime, variance: float, generator: torch.Generator) -> None:
    """Multiply weights and biases of the convolutions in ODE blocks by 1 + variance N(0, 1)."""
    with torch.no_grad():
        for parameter in _convolution_parameters(depth):
            # Drawn on the CPU: equal numbers on every device and in every process.
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.mul_((1 + variance * noise).to(parameter))


def _convolution_parameters(depth: DepthTime) -> Iterable[nn.Parameter]:
    for block in depth.blocks:
        for module in block.nodes.modules():
            if isinstance(module, nn.Conv2d):
                yield from module.parameters()


def carry_state(
    optimizer: Optimizer, network: nn.Module, origins: list[Origin], *, carry: bool
) -> None:
    """Replace the refined parameters of an optimizer by the new ones.

    A new parameter joins the group of the parameters that it is a weighted sum of. With `carry`,
    its state is the same sum of their states. Without, all states are dropped.

    Within a group, parameters are in the order of the network, as in an optimizer that is made at
    this depth: a checkpoint identifies parameters by their position.
    """
    parents = {new: parts[0][0] for new, parts in origins}
    for group in optimizer.param_groups:
        members = set(group["params"])
        group["params"] = [p for p in network.parameters() if parents.get(p, p) in members]
    if not carry:
        optimizer.state.clear()
        return
    for new, parts in origins:
        # A part of weight 0 adds nothing, and a node that no stage has looked up has no state.
        parts = [(old, weight) for old, weight in parts if weight and old in optimizer.state]
        if parts and new is not parts[0][0]:
            states = [optimizer.state[old] for old, _ in parts]
            optimizer.state[new] = _summed(states, [weight for _, weight in parts], new.shape)


def _summed(
    states: list[dict[str, Any]], weights: list[float], shape: torch.Size
) -> dict[str, Any]:
    """Return the weighted sum of the states of parameters of one shape.

    A single state of weight 1 is copied.
    """
    summed = copy.deepcopy(states[0])
    if weights == [1]:
        return summed
    for name, value in summed.items():
        # The number of steps is equal in all states.
        if isinstance(value, Tensor) and value.shape == shape and name != "step":
            summed[name] = weighted_sum([state[name] for state in states], weights)
    return summed


def unsupported(trainer: Any, optimizer: Optimizer) -> str | None:
    """Return the key of a setting that refinement cannot work with, and the reason, or None."""
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        name = type(trainer.strategy).__name__
        return f"trainer.strategy must be auto or ddp: {name} cannot take in new parameters"
    for callback in trainer.callbacks:
        if isinstance(callback, UNABLE_TO_FOLLOW):
            name = type(callback).__name__
            return f"callbacks must leave out {name}, which does not know of the new parameters"
    if isinstance(optimizer, torch.optim.LBFGS):
        return "optimizer must be other than LBFGS, whose state is one vector over all parameters"
    return None


def _wrap_again(trainer: Trainer) -> None:
    """Wrap the network again: DistributedDataParallel knows only the parameters that it was given.

    Without this, the weights of the processes would drift apart.
    """
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()
