"""The time of training steps, their memory, and the size of the batch."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.outcome import Line, Outcome, at_least, at_most
from benchmarks.gpu.settings import Settings
from benchmarks.measure import TrainingStep, in_turns, ratio, shown
from benchmarks.memory import peak
from benchmarks.step import FAST, PLAIN, network
from contnet.ode.gradient import GRADIENTS
from contnet.training.compilation import how_to_compile

STEPS_A_TURN = 10
"""Steps of a side before the next one has its turn."""

BATCH_SIZES = (128, 256, 512, 1024, 2048, 4096)

DEPTH = 16
"""Nodes of the network whose memory is measured."""


def several(step: Callable[[], None], n_steps: int) -> None:
    """Take several steps."""
    for _ in range(n_steps):
        step()


def fast(name: str, settings: Settings, batch_size: int, *, compiled: bool) -> TrainingStep:
    """Return a step as train.py takes it: bf16, channels last, and compiled."""
    made = network(name)
    if compiled:
        made.compile(**how_to_compile(made, torch.device(settings.device)))
    return TrainingStep(made, batch_size=batch_size, device=settings.device)


def plain(name: str, settings: Settings) -> TrainingStep:
    """Return a step as users of torchdiffeq take it: float32, channels first, eager."""
    return TrainingStep(
        network(name),
        batch_size=settings.batch_size,
        precision=torch.float32,
        channels_last=False,
        device=settings.device,
    )


def of_libraries(settings: Settings) -> Outcome:
    """Compare Euler's method with ResNet-20, RK4 with Euler's method, and torchdiffeq with both."""
    settings.as_trained()
    steps = {
        name: fast(name, settings, settings.batch_size, compiled=not settings.quick)
        for name in FAST
    }
    # Counted in steps that are not compiled: the counter sees no operation of compiled code.
    flops = {
        name: fast(name, settings, settings.batch_size, compiled=False).flops()
        for name in ("our_euler", "our_rk4")
    }
    steps |= {f"plain {name}": plain(name, settings) for name in PLAIN}
    n_steps = 1 if settings.quick else STEPS_A_TURN
    sides = {name: partial(several, step, n_steps) for name, step in steps.items()}
    seconds = in_turns(sides, settings.rounds, settings.device)
    arithmetic = flops["our_rk4"] / flops["our_euler"]

    def over(a: str, b: str) -> dict[str, float]:
        return ratio(seconds[a], seconds[b])

    found = {
        "Euler over ResNet-20": over("our_euler", "resnet"),
        "RK4 over Euler": over("our_rk4", "our_euler"),
        "torchdiffeq as used over contnet, Euler": over("plain stock_euler", "our_euler"),
        "torchdiffeq as used over contnet, RK4": over("plain stock_rk4", "our_rk4"),
        "torchdiffeq over contnet, both plain, Euler": over("plain stock_euler", "plain our_euler"),
        "torchdiffeq over contnet, both plain, RK4": over("plain stock_rk4", "plain our_rk4"),
    }
    judged = settings.judges_speed
    euler, rk4, *stock = [(name, value["median"]) for name, value in found.items()]
    lines = [
        at_most(*euler, 1.05, judged=judged),
        at_most(*rk4, arithmetic, judged=judged),
        *(at_least(*one, 5, judged=judged) for one in stock[:2]),
        *(Line(name, shown(found[name])) for name, _ in stock[2:]),
    ]
    for name, values in seconds.items():
        lines.append(Line(f"a step, {name}", f"{1e3 * statistics.median(values) / n_steps:.2f} ms"))
    return Outcome(lines, {"seconds": seconds, "ratios": found, "arithmetic": arithmetic})


def of_memory(settings: Settings) -> Outcome:
    """Measure the peak of a step by way to the gradient, above what is held between steps."""
    scheme, depth = ("euler", 1) if settings.quick else ("rk4", DEPTH)
    threads = torch.get_num_threads()
    peaks = {
        gradient: peak(scheme, depth, gradient, settings.device, threads) for gradient in GRADIENTS
    }
    lines = []
    for gradient, found in peaks.items():
        text = f"{found['peak'] / 1e6:.0f} MB"
        lines.append(Line(f"{scheme}, K = {depth}, {gradient}: peak", text))
    over = peaks["checkpoint"]["peak"] / peaks["backprop"]["peak"]
    judged = settings.judges_speed
    lines.append(at_most("memory of checkpoint over backprop", over, 0.35, judged=judged))
    return Outcome(lines, peaks)


def of_batch_sizes(settings: Settings, compiled: bool) -> Outcome:
    """Measure images/s of steps by the size of the batch."""
    settings.as_trained()
    sizes = (2, 4) if settings.quick else BATCH_SIZES
    names = ("our_euler",) if compiled or settings.quick else FAST
    figures: dict[str, Any] = {}
    for name in names:
        for size in sizes:
            step = fast(name, settings, size, compiled=compiled)
            (values,) = in_turns(
                {name: partial(several, step, 5)}, 1 if settings.quick else 5, settings.device
            ).values()
            figures[f"{name}, batch {size}"] = 5 * size / statistics.median(values)
            del step
    how = "compiled" if compiled else "eager"
    lines = [Line(f"{how} {what}", f"{speed:,.0f} images/s") for what, speed in figures.items()]
    return Outcome(lines, figures)
