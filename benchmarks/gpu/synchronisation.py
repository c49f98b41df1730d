"""Steps that do not wait for the device.

A training step that reads a number from the GPU stops until the GPU has computed it, and the GPU
then stops until the program has prepared more work. PyTorch can raise an error at each such place.
Whole steps run that way: batch and augmentation on the device, normalisation, forward pass,
backward pass and optimizer.

Adaptive schemes must read the error of each step, and torchdiffeq, which `gradient=adjoint` is
built on, compares times on the device. For them the places are counted, and named. On a CPU the
operations are counted that would wait for a GPU, as far as they can be told there.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu.correctness import Case, adaptive_cases, fixed_cases
from benchmarks.gpu.images import loader_on_device, synthetic
from benchmarks.gpu.outcome import Line, Outcome, none_of
from benchmarks.gpu.settings import Settings
from contnet import ADAPTIVE_SCHEMES, ContinuousNet

MESSAGE = "called a synchronizing CUDA operation"
"""What PyTorch says where the program waits for the GPU."""

TOLERANCE = 1e-1
"""Of adaptive schemes: rates in bf16 let them take many steps with a smaller one."""

WARM_UP = 2
"""Steps before the first one that is watched: libraries allocate and choose algorithms in them."""

WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "lift_fresh")
"""Operations of PyTorch that wait for a GPU: a number is read or written, a size is computed."""


class Steps:
    """Training steps on batches that are made on the device; each call takes one.

    Args:
        network: normalised images -> logits.
        settings: device and sizes.
    """

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        device = torch.device(settings.device)
        data = synthetic(settings, n_train=8 * settings.batch_size)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.normalise = data.normalise(channels_last=True).to(device)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        self.batches = iter(loader_on_device(data, 0, device))
        self.device = settings.device

    def __call__(self) -> None:
        images, labels = next(self.batches)
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.bfloat16):
            logits = self.network(self.normalise(images))
            loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        self.optimizer.step()


class WouldWait(TorchDispatchMode):
    """Adds the operations on a CPU that would wait for a GPU to `places`, by where they are."""

    def __init__(self, places: Counter[str]) -> None:
        super().__init__()
        self.places = places

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = operation.overloadpacket.__name__
        if name in WAITING:
            self.places[f"{name} in {_place()}"] += 1
        return operation(*args, **(kwargs or {}))


def _place() -> str:
    """Return the innermost function of contnet that is being called, and its line."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("contnet."):
            return f"{module}, line {frame.f_lineno}"
        frame = frame.f_back
    return "the backward pass"


@contextmanager
def _sync_mode(mode: str) -> Iterator[None]:
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def watched(device: str) -> Iterator[Counter[str]]:
    """Count the places at which the program waits for the device within the context.

    The count is there once the context is left.
    """
    places: Counter[str] = Counter()
    if device != "cuda":
        with WouldWait(places):
            yield places
        return
    with warnings.catch_warnings(record=True) as caught, _sync_mode("warn"):
        warnings.simplefilter("always")
        yield places
    found = [w for w in caught if MESSAGE in str(w.message)]
    places.update(f"{w.filename}, line {w.lineno}" for w in found)


def waits(step: Callable[[], None], device: str) -> dict[str, int]:
    """Return the places at which a step waits for the device, and how often."""
    with watched(device) as places:
        step()
    return dict(places)


def never_waits(step: Callable[[], None], device: str) -> bool:
    """Return True if a step does not wait for the device."""
    if device != "cuda":
        return not waits(step, device)
    try:
        with _sync_mode("error"):
            step()
    except RuntimeError as error:
        if MESSAGE not in str(error):
            raise
        return False
    return True


def network_of(case: Case, alpha: int) -> nn.Module:
    """Return a network with the settings of a block."""
    tolerance = TOLERANCE if case.scheme in ADAPTIVE_SCHEMES else None
    return ContinuousNet(
        alpha=alpha,
        initial_time_d=2,
        scheme=case.scheme,
        gradient=case.gradient,
        basis=case.basis,
        rtol=tolerance,
        atol=tolerance,
    )


def of_steps(settings: Settings) -> Outcome:
    """Watch a step of each scheme, gradient and basis; count where waits cannot be avoided."""
    required = [case for case in fixed_cases(settings.quick) if case.gradient != "adjoint"]
    counted = [case for case in fixed_cases(settings.quick) if case.gradient == "adjoint"]
    counted += [case for case in adaptive_cases(settings.quick) if case.scheme in ADAPTIVE_SCHEMES]
    figures: dict[str, Any] = {}
    failed, numbers = [], []
    for case in [*required, *counted]:
        torch.manual_seed(0)
        step = Steps(network_of(case, settings.alpha), settings)
        for _ in range(1 if settings.quick else WARM_UP):
            step()
        if case in required and never_waits(step, settings.device):
            figures[str(case)] = {}
            continue
        figures[str(case)] = places = waits(step, settings.device)
        if case in required:
            failed.append(f"{case} ({', '.join(places) or 'not again'})")
        else:
            numbers.append(sum(places.values()))
    how = "waits for the GPU" if settings.on_cuda else "operations that would wait for a GPU"
    return Outcome(
        [
            none_of("fixed steps, backprop and checkpoint: no wait", len(required), failed),
            Line(f"adjoint and adaptive: {how}, a step", f"{min(numbers)} to {max(numbers)}"),
        ],
        figures,
    )
