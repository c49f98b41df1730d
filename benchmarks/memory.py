"""Memory of a training step: checkpoints and the adjoint over backprop, and each further node.

    python -m benchmarks.memory

The peak of one training step is counted from the memory that the process holds between steps:
parameters, gradients, momentum. Each side has a process of its own. On a CPU the resident set of
Linux is measured. Times are measured in one process, where the sides take turns.
"""

import gc
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import TrainingStep, in_fresh_process, in_turns, parser, ratio, shown, write
from contnet import ContinuousNet
from contnet.ode.gradient import GRADIENTS

DEPTHS = (1, 2, 4, 8, 16)


def training_step(scheme: str, depth: int, gradient: str, device: str) -> TrainingStep:
    return TrainingStep(
        ContinuousNet(initial_time_d=depth, scheme=scheme, gradient=gradient), device=device
    )


def peak(scheme: str, depth: int, gradient: str, device: str, threads: int) -> dict[str, float]:
    """Return the bytes of a step's peak, and those held between steps.

    Parameters, gradients and momentum are held between steps; the peak is counted from there.
    """
    torch.set_num_threads(threads)
    step = training_step(scheme, depth, gradient, device)
    # The first step allocates the momentum, and memory that the libraries keep. It is a small one,
    # because the heap would keep the memory of a large one.
    images, labels = step.images, step.labels
    step.images, step.labels = images[:2], labels[:2]
    step()
    step.images, step.labels = images, labels
    gc.collect()
    held = 3 * sum(p.nbytes for p in step.network.parameters())
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return {"peak": torch.cuda.max_memory_allocated() - before, "held": held}
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to VmRSS
    before = resident("VmRSS")
    step()
    return {"peak": resident("VmHWM") - before, "held": held}


def saved_bytes(network: nn.Module, x: Tensor) -> int:
    """Count the bytes that the forward pass saves for the backward pass, parameters left out.

    Each storage counts once.
    """
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}
    held = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # keeps its address from being used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return sum(kept.values())


def resident(which: str) -> int:
    """Return the bytes of this process in memory: now (VmRSS) or at the peak so far (VmHWM)."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def activations_of_a_node(device: str) -> float:
    """Return the bytes that autograd saves for a further node with Euler's method."""
    with torch.autocast(device, torch.bfloat16):
        one, two = (training_step("euler", depth, "backprop", device) for depth in (1, 2))
        return saved_bytes(two.network, two.images) - saved_bytes(one.network, one.images)


def measured(scheme: str, depth: int, gradient: str, device: str) -> dict[str, float]:
    """Return the peak of a side, measured in a process of its own, and print it."""
    threads = torch.get_num_threads()
    found: dict[str, float] = in_fresh_process(peak, scheme, depth, gradient, device, threads)
    name = f"{scheme}, K={depth}, {gradient}:"
    at_peak, held = found["peak"] / 1e6, found["held"] / 1e6
    print(f"{name:34} {at_peak:8.1f} MB at the peak, {held:5.1f} MB held", flush=True)
    return found


def over_backprop(scheme: str, device: str, rounds: int) -> dict[str, Any]:
    """Compare memory and time of the other gradients with backprop's, at the greatest depth."""
    deep = DEPTHS[-1]
    kept = {gradient: measured(scheme, deep, gradient, device) for gradient in GRADIENTS}
    steps = {gradient: training_step(scheme, deep, gradient, device) for gradient in GRADIENTS}
    seconds = in_turns(steps, rounds, device, warm_up=1)
    found: dict[str, Any] = {}
    for gradient in GRADIENTS[1:]:
        memory = kept[gradient]["peak"] / kept["backprop"]["peak"]
        time = ratio(seconds[gradient], seconds["backprop"])
        found[gradient] = {"memory": memory, "time": time}
        sides = f"{gradient} over backprop, {scheme}, K={deep}"
        print(f"{sides}: memory {memory:.3f}, time {shown(time)}")
    return {"kept": kept, "over_backprop": found}


def each_further_node(device: str) -> dict[str, Any]:
    """Measure what a further node costs with Euler's method and backprop."""
    depths = {depth: measured("euler", depth, "backprop", device) for depth in DEPTHS}

    def bytes_per_node(shallow: int, deep: int) -> float:
        return (depths[deep]["peak"] - depths[shallow]["peak"]) / (deep - shallow)

    per_node = bytes_per_node(DEPTHS[0], DEPTHS[-1])
    between = ", ".join(f"{bytes_per_node(a, b) / 1e6:.1f}" for a, b in pairwise(DEPTHS))
    saved = activations_of_a_node(device)
    depths_in_words = " to ".join(map(str, DEPTHS))
    print(f"Euler, each further node: {per_node / 1e6:.1f} MB ({depths_in_words} nodes: {between})")
    print(f"  of which autograd saves {saved / 1e6:.1f} MB of activations for the backward pass")
    return {"depths": depths, "bytes_per_node": per_node, "activation_bytes_per_node": saved}


def main() -> None:
    made = parser(__doc__, "memory", rounds=5)
    made.add_argument("--scheme", default="rk4", help="one that torchdiffeq has for the adjoint")
    options = made.parse_args()
    compared = over_backprop(options.scheme, options.device, options.rounds)
    write(options.json, {**compared, **each_further_node(options.device)}, options.device)


if __name__ == "__main__":
    main()
