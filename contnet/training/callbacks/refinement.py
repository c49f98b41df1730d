"""Depth refinement while training (Queiruga et al. 2020, section 4).

A network starts shallow, and becomes deeper on schedule. theta(t) remains the function that it was,
so training continues from that network. Its optimizer continues likewise: a new node is a weighted
sum of old ones, mostly a copy, and its momentum becomes the same sum of theirs. Parameter groups,
learning rate and schedule stay as they are.
"""

import logging
from collections.abc import Iterable
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
from contnet.ode.block import ODEBlock
from contnet.ode.depth_time import DepthTime, depth_time
from contnet.training.callbacks.averaging import ExponentialAverage
from contnet.training.growth import Growth
from contnet.training.optimizer import carry_state

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
    """Refines every ODE block when the plan of the run says so.

    A refined block has a finer basis, and more steps by the same factor. The network knows how far
    it was refined, and its checkpoints do. So a resumed run refines as one that was never stopped.

    An average of the weights (`ExponentialAverage`) is refined by the same map.

    Args:
        growth: when to refine, and how far.
        epsilon: `keep` leaves epsilon as it is; `grow` multiplies it like the steps, and divides
            the last affine map of each rate: see `ODEBlock.refine`.
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
        growth: Growth,
        epsilon: str,
        variance: float,
        optimizer_state: str,
        seed: int,
        probe: Iterable[tuple[Tensor, Tensor]],
        probe_name: str,
    ) -> None:
        self.growth = growth
        self.epsilon = arguments.one_of("epsilon", epsilon, ("keep", "grow"))
        self.variance = arguments.number("variance", variance, minimum=0)
        self.optimizer_state = arguments.one_of(
            "optimizer_state", optimizer_state, ("carry", "reset")
        )
        self.seed = seed
        self.probe = probe
        self.probe_name = probe_name
        self._n_steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        # Not earlier: counting the steps sets up the loader, which must have been resumed by then.
        self._n_steps = int(trainer.estimated_stepping_batches)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        depth = _depth_of(pl_module.network)
        while depth.refined_by < self.growth.factor(trainer.current_epoch):
            self._refine(trainer, pl_module, None)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        # Becomes due when a step has been taken, so no gradient is being accumulated.
        n_basis = self.growth.n_basis(trainer.global_step, self._n_steps)
        if n_basis and _depth_of(pl_module.network).coarser_than(n_basis):
            self._refine(trainer, pl_module, n_basis)

    def _refine(self, trainer: Trainer, pl_module: Any, n_basis: int | None) -> None:
        depth = _depth_of(pl_module.network)
        before = self._snapshot(trainer, pl_module, depth)
        callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
        averages = [one for one in callbacks if isinstance(one, ExponentialAverage)]
        for network in (pl_module.network, *(one.network for one in averages)):
            refined = _depth_of(network)
            blocks = refined.coarser_than(n_basis)
            origins = refined.refine(n_basis, grow=self.epsilon == "grow")
            if self.variance:
                factor = max(block.refined_by for block in blocks)
                perturb(
                    blocks, self.variance, keyed_generator(self.seed, trainer.global_step, factor)
                )
            pl_module.provide_statistics(network)
            if network is pl_module.network:
                for optimizer in trainer.optimizers:
                    carry_state(optimizer, network, origins, carry=self.optimizer_state == "carry")
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
        at = f"step {trainer.global_step}" if self.growth.at else f"epoch {trainer.current_epoch}"
        line = (
            f"{at}: refined {before.nodes} -> {after.nodes}, "
            f"{before.n_parameters:,} -> {after.n_parameters:,} parameters, "
            f"{self.probe_name} {before.accuracy:.4f} -> {after.accuracy:.4f}"
        )
        if trainer.is_global_zero:
            log.info(line)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("refinement", line, global_step=trainer.global_step)


def _depth_of(network: nn.Module) -> DepthTime:
    found = depth_time(network)
    assert found is not None, "a network without ODE blocks has no depth to refine"
    return found


def perturb(blocks: Iterable[ODEBlock], variance: float, generator: torch.Generator) -> None:
    """Multiply weights and biases of the convolutions in ODE blocks by 1 + variance N(0, 1)."""
    with torch.no_grad():
        for parameter in _convolution_parameters(blocks):
            # Drawn on the CPU: equal numbers on every device and in every process.
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.mul_((1 + variance * noise).to(parameter))


def _convolution_parameters(blocks: Iterable[ODEBlock]) -> Iterable[nn.Parameter]:
    for block in blocks:
        for module in block.nodes.modules():
            if isinstance(module, nn.Conv2d):
                yield from module.parameters()


def unsupported(trainer: Any, optimizer: Optimizer) -> str | None:
    """Return the key of a setting that refinement cannot work with, and the reason, or None."""
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        name = type(trainer.strategy).__name__
        return f"trainer.strategy must be auto or ddp: {name} cannot take in new parameters"
    for callback in trainer.callbacks:
        follows = isinstance(callback, ExponentialAverage)
        if isinstance(callback, UNABLE_TO_FOLLOW) and not follows:
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
