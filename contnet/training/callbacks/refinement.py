"""Depth refinement while training (Queiruga et al. 2020, section 4): start shallow, double the depth on schedule.

theta(t) stays the function that it was, so the network goes on from where it stood. So does its optimizer: a new node
is a sum of old ones, mostly a copy, and its momentum is the same sum of theirs, edited in place, which leaves
parameter groups, learning rate and schedule as they are.
"""

import copy
import logging
from collections.abc import Iterable, Sequence
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
from contnet.metrics import Score
from contnet.ode.block import Origin
from contnet.ode.combination import weighted_sum
from contnet.ode.depth_time import DepthTime, depth_time

log = logging.getLogger(__name__)

UNABLE_TO_FOLLOW = (BaseFinetuning, StochasticWeightAveraging, WeightAveraging)


class DepthRefinement(Callback):
    """Refines every ODE block at the start of each epoch in `epochs` (0-based): the next finer basis, twice the steps.

    The network counts its refinements, also in checkpoints, so a resumed run refines where the uninterrupted one does.

    Args:
        epochs: when to refine, in increasing order.
        n_epochs: length of the run.
        variance: every weight and bias of the nodes' convolutions is multiplied by 1 + variance N(0, 1).
        optimizer_state: `carry` gives new nodes their parents' momenta; `reset` drops all momenta, as the original did.
        seed: of the noise.
        probe: images to report the accuracy on, before and after, under the name `probe_name`.

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
        self.epochs = refinement_epochs(epochs, n_epochs)
        self.variance = arguments.number("variance", variance, minimum=0)
        self.optimizer_state = arguments.one_of(
            "optimizer_state", optimizer_state, ("carry", "reset")
        )
        self.seed = seed
        self.probe = probe
        self.probe_name = probe_name

    def n_due(self, epoch: int) -> int:
        """Refinements that an epoch comes after."""
        return sum(refined_at <= epoch for refined_at in self.epochs)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        while depth_of(pl_module).n_refined < self.n_due(trainer.current_epoch):
            self._refine(trainer, pl_module)

    def _refine(self, trainer: Any, pl_module: Any) -> None:
        network, depth = pl_module.network, depth_of(pl_module)
        before = (_nodes(depth), _n_parameters(network), self._accuracy(trainer, pl_module))
        origins = depth.refine()
        if self.variance:
            perturb(
                depth_of(pl_module),
                self.variance,
                keyed_generator(self.seed, trainer.current_epoch),
            )
        for optimizer in trainer.optimizers:
            hand_down(optimizer, network, origins, carry=self.optimizer_state == "carry")
        _wrap_again(trainer)
        pl_module.recompile()
        after = (
            _nodes(depth_of(pl_module)),
            _n_parameters(network),
            self._accuracy(trainer, pl_module),
        )
        self._report(trainer, before, after)

    def _accuracy(self, trainer: Trainer, pl_module: Any) -> float:
        score = Score(len(pl_module.classes)).to(pl_module.device)
        was_training = pl_module.training
        pl_module.eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for images, labels in self.probe:
                score.update(pl_module(images.to(pl_module.device)), labels.to(pl_module.device))
        pl_module.train(was_training)
        return score.accuracy.compute().item()

    def _report(
        self, trainer: Any, before: tuple[str, int, float], after: tuple[str, int, float]
    ) -> None:
        (depth, parameters, accuracy), (new_depth, new_parameters, new_accuracy) = before, after
        line = (
            f"epoch {trainer.current_epoch}: refined {depth} -> {new_depth}, "
            f"{parameters:,} -> {new_parameters:,} parameters, "
            f"{self.probe_name} {accuracy:.4f} -> {new_accuracy:.4f}"
        )
        if trainer.is_global_zero:
            log.info(line)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("refinement", line, global_step=trainer.global_step)


def refinement_epochs(epochs: Sequence[int], n_epochs: int) -> list[int]:
    """The schedule, checked.

    Raises:
        ValueError: if an epoch is no whole number from 1 to n_epochs - 1, or they are not in increasing order.
    """
    if not isinstance(epochs, Sequence) or isinstance(epochs, str):
        raise ValueError(f"epochs must be a list of epochs, got {epochs!r}")
    for epoch in epochs:
        arguments.integer("epochs", epoch, minimum=1)
        if epoch >= n_epochs:
            raise ValueError(
                f"epochs must lie before the end of the run at {n_epochs}, got {epoch}"
            )
    if list(epochs) != sorted(set(epochs)):
        raise ValueError(
            f"epochs must be in increasing order and without repetition, got {list(epochs)}"
        )
    return list(epochs)


def perturb(depth: DepthTime, variance: float, generator: torch.Generator) -> None:
    """Multiply the weights and biases of the convolutions in ODE blocks by 1 + variance N(0, 1)."""
    with torch.no_grad():
        for block in depth.blocks:
            for module in block.nodes.modules():
                if isinstance(module, nn.Conv2d):
                    for parameter in module.parameters():
                        # Drawn on the CPU: the same on every device and in every process.
                        noise = torch.randn(parameter.shape, generator=generator)
                        parameter.mul_((1 + variance * noise).to(parameter))


def hand_down(
    optimizer: Optimizer, network: nn.Module, origins: list[Origin], *, carry: bool
) -> None:
    """Put new parameters into the groups of those that they are sums of, with the same sum of their states if `carry`;
    else drop all states.

    Within a group parameters stand in the order of the network's, as in an optimizer made afresh at this depth: that is
    what a checkpoint goes by.
    """
    parents = {new: parts[0][0] for new, parts in origins}
    for group in optimizer.param_groups:
        members = set(group["params"])
        group["params"] = [p for p in network.parameters() if parents.get(p, p) in members]
    if not carry:
        optimizer.state.clear()
        return
    for new, parts in origins:
        # What begins at zero begins without a state, and a node that no stage has visited has none.
        parts = [(old, weight) for old, weight in parts if weight and old in optimizer.state]
        if parts and new is not parts[0][0]:
            states = [optimizer.state[old] for old, _ in parts]
            optimizer.state[new] = _summed(states, [weight for _, weight in parts], new.shape)


def _summed(
    states: list[dict[str, Any]], weights: list[float], shape: torch.Size
) -> dict[str, Any]:
    """The sum of an optimizer's states for parameters of one shape; a single one of weight 1 is copied as it is."""
    summed = copy.deepcopy(states[0])
    if weights == [1]:
        return summed
    for name, value in summed.items():
        # Counts of steps are alike in all.
        if isinstance(value, Tensor) and value.shape == shape and name != "step":
            summed[name] = weighted_sum([state[name] for state in states], weights)
    return summed


def unsupported(trainer: Any, optimizer: Optimizer) -> str | None:
    """The key of a setting that refinement cannot work with and why, or None."""
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        return f"trainer.strategy must be auto or ddp: {type(trainer.strategy).__name__} cannot take in new parameters"
    for callback in trainer.callbacks:
        if isinstance(callback, UNABLE_TO_FOLLOW):
            return f"callbacks must leave out {type(callback).__name__}, which does not know of the new parameters"
    if isinstance(optimizer, torch.optim.LBFGS):
        return "optimizer must be other than LBFGS, whose state is one vector over all parameters"
    return None


def _wrap_again(trainer: Trainer) -> None:
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
        # The reducer knows the parameters of its construction; without this the ranks would drift apart.
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()


def _n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def depth_of(pl_module: Any) -> DepthTime:
    """Return the depth-time of a module's network, which has one."""
    depth = depth_time(pl_module.network)
    assert depth is not None
    return depth


def _nodes(depth: DepthTime) -> str:
    return "-".join(str(block.n_basis) for block in depth.blocks)
