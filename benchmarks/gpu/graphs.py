"""Compilation and CUDA graphs beside eager execution: equal results, and time.

The sides are steps of one network on one batch, in bf16 and channels last:

    eager               PyTorch's own kernels, started one by one
    compiled            kernels of inductor, started one by one
    as contnet trains   the same as CUDA graphs (mode reduce-overhead), as `how_to_compile` says
    one graph           the whole eager step, optimizer included, as one CUDA graph

Results are equal if the loss after some steps is, up to what bf16 loses. PyTorch counts the
compiled functions that it could not make CUDA graphs of, and there must be none.
"""

import copy
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from benchmarks.gpu.outcome import Line, Outcome, at_most
from benchmarks.gpu.settings import Settings
from benchmarks.measure import TrainingStep, in_turns, ratio
from contnet import ContinuousNet
from contnet.training.compilation import how_to_compile

N_STEPS = 10
"""Steps after which losses are compared, and steps in a turn; a quick run takes fewer."""

LIMIT = 1e-2
"""Largest relative difference of the loss from that of eager execution."""

NETWORKS: dict[str, dict[str, Any]] = {
    "euler": {"initial_time_d": 2, "scheme": "euler"},
    "rk4": {"initial_time_d": 2, "scheme": "rk4_classic"},
    "deep": {"initial_time_d": 8, "scheme": "rk4_classic"},
    "linear": {"initial_time_d": 4, "basis": "continuous_linear"},
}
"""Networks compiled as a whole, one that is compiled step by step, and one that sums its nodes."""


class SameLoss:
    """A training step whose loss on its batch can be asked for."""

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        torch.manual_seed(1)
        self.step = TrainingStep(network, batch_size=settings.batch_size, device=settings.device)

    def __call__(self) -> None:
        self.step()

    def several(self, n_steps: int) -> None:
        """Take several steps."""
        for _ in range(n_steps):
            self()

    def weights(self) -> Tensor:
        """Return all weights as a vector on the CPU."""
        return _flat(self.step.network)

    def loss(self) -> float:
        """Return the loss after the steps so far, computed by eager code."""
        step = self.step
        with (
            torch.no_grad(),
            torch.compiler.set_stance("force_eager"),
            torch.autocast(step.device, step.precision),
        ):
            logits = step.network(step.images)
            return nn.functional.cross_entropy(logits.float(), step.labels).item()


class OneGraph(SameLoss):
    """A whole training step as one CUDA graph."""

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        super().__init__(network, settings)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # a capture needs momenta and the memory of libraries
            self.step()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()

    def __call__(self) -> None:
        self.graph.replay()


def compiled(network: nn.Module, settings: Settings, options: dict[str, Any]) -> SameLoss:
    """Return the step of a network compiled with the options of `torch.compile`."""
    network.compile(**options)
    return SameLoss(network, settings)


def sides(network: nn.Module, settings: Settings) -> dict[str, Callable[[], SameLoss]]:
    """Return what makes each side, of copies of one network."""
    as_contnet = how_to_compile(network, torch.device(settings.device))
    # A part of compilation that takes no minutes, where figures mean nothing.
    plain: dict[str, Any] = {"dynamic": False}
    if settings.quick:
        plain["backend"] = "aot_eager"
    made: dict[str, Callable[[], SameLoss]] = {
        "eager": partial(SameLoss, copy.deepcopy(network), settings),
        "compiled": partial(compiled, copy.deepcopy(network), settings, plain),
    }
    if settings.on_cuda:
        made["as contnet trains"] = partial(compiled, copy.deepcopy(network), settings, as_contnet)
        made["one graph"] = partial(OneGraph, copy.deepcopy(network), settings)
    return made


def of_network(settings: Settings, name: str) -> Outcome:
    """Compare the sides of a network: their losses and weights after some steps, and their times.

    A difference of weights is relative to how far eager execution has moved them.
    """
    settings.as_trained()
    torch.manual_seed(0)
    options = NETWORKS[name] | ({"initial_time_d": 1} if settings.quick else {})
    network = ContinuousNet(alpha=settings.alpha, **options)
    start = _flat(network)
    n_steps = 3 if settings.quick else N_STEPS
    steps: dict[str, SameLoss] = {}
    losses: dict[str, float] = {}
    weights: dict[str, Tensor] = {}
    n_skipped: dict[str, int] = {}
    for side, make in sides(network, settings).items():
        counters.clear()
        steps[side] = step = make()
        # One graph has taken a step before its capture, and the capture computes nothing.
        step.several(n_steps - isinstance(step, OneGraph))
        losses[side], weights[side] = step.loss(), step.weights()
        n_skipped[side] = counters["inductor"]["cudagraph_skips"]
    lines = []
    for side in [side for side in steps if side != "eager"]:
        of_loss = abs(losses[side] / losses["eager"] - 1)
        of_weights = (weights[side] - weights["eager"]).norm() / (weights["eager"] - start).norm()
        beside = f"{name}: {side} beside eager after {n_steps} steps"
        lines.append(at_most(f"{beside}, difference of the loss", of_loss, LIMIT))
        lines.append(Line(f"{beside}, difference of the weights", f"{of_weights.item():.2g}"))
    if settings.on_cuda:
        found = n_skipped["as contnet trains"]
        lines.append(at_most(f"{name}: functions without a CUDA graph", found, 0))
    turns = {side: partial(step.several, n_steps) for side, step in steps.items()}
    seconds = in_turns(turns, settings.rounds, settings.device)
    for side, values in seconds.items():
        over = ratio(values, seconds["eager"])
        milliseconds = 1e3 * statistics.median(values) / n_steps
        text = f"{milliseconds:.2f} ms, {over['median']:.3f} of eager"
        lines.append(Line(f"{name}: a step, {side}", text))
    figures = {"losses": losses, "seconds": seconds, "without_graph": n_skipped}
    return Outcome(lines, figures)


def _flat(network: nn.Module) -> Tensor:
    """Return all parameters as a vector on the CPU, in whatever memory format they are."""
    return torch.cat([p.detach().cpu().flatten() for p in network.parameters()])
