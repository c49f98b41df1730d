"""Tools of the benchmarks: a training step, sides that take turns, and the form of a result."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from importlib.metadata import distributions
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from contnet.runs import provenance

OTHER_SOLVERS = {d.name: d.version for d in distributions() if d.name in ("torchdyn", "torchode")}
"""Versions of the installed solvers to compare with."""


class TrainingStep:
    """A training step on random images (batch_size, *shape): forward, backward and SGD.

    Args:
        network: images -> logits (batch_size, num_classes).
        batch_size: images of the step.
        precision: precision of the forward pass under autocast; float32 turns autocast off.
        channels_last: memory format of images and weights.
        device: type of the device that the step runs on.
        shape: shape of an image.
        num_classes: number of classes.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        batch_size: int = 128,
        precision: torch.dtype = torch.bfloat16,
        channels_last: bool = True,
        device: str = "cpu",
        shape: tuple[int, ...] = (3, 32, 32),
        num_classes: int = 10,
    ) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(device).to(memory_format=layout)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
        )
        self.images = torch.randn(batch_size, *shape, device=device).to(memory_format=layout)
        self.labels = torch.randint(0, num_classes, (batch_size,), device=device)
        self.precision = precision
        self.device = device

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(self.device, self.precision, enabled=self.precision != torch.float32):
            loss = nn.functional.cross_entropy(self.network(self.images), self.labels)
        loss.backward()
        self.optimizer.step()

    def flops(self) -> int:
        """Count the floating-point operations of forward and backward pass."""
        with FlopCounterMode(display=False) as counter:
            self()
        return counter.get_total_flops()


def in_turns(
    sides: Mapping[str, Callable[[], Any]], rounds: int, device: str = "cpu", warm_up: int = 2
) -> dict[str, list[float]]:
    """Return the seconds of each side in each round.

    The sides take turns, so that other work of the machine slows all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + warm_up):
        for name, side in sides.items():
            elapsed = clock(side, device)
            if turn >= warm_up:
                seconds[name].append(elapsed)
    return seconds


def clock(action: Callable[[], Any], device: str = "cpu") -> float:
    """Return the wall time of an action in seconds."""
    start = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


class OwnProcess:
    """A side in a process of its own, where no other side changes the heap. A call runs it once.

    Args:
        make: (*arguments) -> the side; called in the new process.
        device: type of the device to wait for after each run.
    """

    def __init__(
        self, make: Callable[..., Callable[[], Any]], *arguments: Any, device: str
    ) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        threads = torch.get_num_threads()
        context.Process(
            target=_serve, args=(theirs, make, arguments, device, threads), daemon=True
        ).start()

    def __call__(self) -> None:
        self.connection.send(None)
        self.connection.recv()


def _serve(
    connection: Any,
    make: Callable[..., Callable[[], Any]],
    arguments: Any,
    device: str,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    side = make(*arguments)
    with suppress(EOFError):  # the other end is closed
        while True:
            connection.recv()
            connection.send(clock(side, device))


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, where nothing has run before, and return its result."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def ratio(a: list[float], b: list[float]) -> dict[str, float]:
    """Return the median of a over b, round by round, with its quartiles."""
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    # One round has no spread.
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else 3 * ratios
    return {"median": statistics.median(ratios), "low": low, "high": high}


def shown(found: Mapping[str, float]) -> str:
    """Return a ratio as text: its median and its quartiles."""
    return f"{found['median']:.3f} (quartiles {found['low']:.3f} to {found['high']:.3f})"


def parser(
    description: str | None, name: str, rounds: int | None = None
) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds, help="measurements of each side")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--json", type=Path, default=Path(f"outputs/benchmarks/{name}.json"))
    return made


def machine(device: str = "cpu") -> str:
    """Return the name of the machine that a figure was measured on, and its version of torch."""
    return f"{provenance.machine(torch.device(device))}, torch {torch.__version__}"


def write(path: Path, result: dict[str, Any], device: str = "cpu") -> None:
    """Save a result with its machine and versions as JSON, and print the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        **result,
        "machine": machine(device),
        "versions": {**provenance.versions(), **OTHER_SOLVERS},
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"{machine(device)}; written to {path}")
