"""Memory of a training step: checkpoints and the adjoint against backprop, and what each node of depth adds.

    python -m benchmarks.memory

Peak of one training step over what the process holds between steps (parameters, gradients, momentum), each side in a
process of its own; on a CPU the resident set as Linux counts it. Times are taken in one process, the sides in turns.
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
    """Bytes: the peak of a step over what is held between steps, and the parameters with what goes with them."""
    torch.set_num_threads(threads)
    step = training_step(scheme, depth, gradient, device)
    # A first step makes momentum and whatever the libraries keep; a small one, lest the heap keep a large one's.
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
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew from what is resident now
    before = resident("VmRSS")
    step()
    return {"peak": resident("VmHWM") - before, "held": held}


def saved_bytes(network: nn.Module, x: Tensor) -> int:
    """What the forward pass keeps for the backward one, each storage counted once, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}
    held = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # else its address would be given to another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return sum(kept.values())


def resident(which: str) -> int:
    """Bytes of this process in memory, now (VmRSS) or at most so far (VmHWM)."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def activations_of_a_node(device: str) -> float:
    """Bytes that autograd keeps for a further node, Euler's method."""
    with torch.autocast(device, torch.bfloat16):
        one, two = (training_step("euler", depth, "backprop", device) for depth in (1, 2))
        return saved_bytes(two.network, two.images) - saved_bytes(one.network, one.images)


def main() -> None:
    made = parser(__doc__, "memory", rounds=5)
    made.add_argument(
        "--scheme", default="rk4", help="one that torchdiffeq has, too, for the adjoint"
    )
    options = made.parse_args()
    device, threads = options.device, torch.get_num_threads()

    def measured(scheme: str, depth: int, gradient: str) -> dict[str, float]:
        found: dict[str, float] = in_fresh_process(peak, scheme, depth, gradient, device, threads)
        name = f"{scheme}, K={depth}, {gradient}:"
        print(
            f"{name:34} {found['peak'] / 1e6:8.1f} MB at the peak, {found['held'] / 1e6:5.1f} MB held",
            flush=True,
        )
        return found

    kept = {gradient: measured(options.scheme, DEPTHS[-1], gradient) for gradient in GRADIENTS}
    depths = {depth: measured("euler", depth, "backprop") for depth in DEPTHS}
    steps = {
        gradient: training_step(options.scheme, DEPTHS[-1], gradient, device) for gradient in kept
    }
    seconds = in_turns(steps, options.rounds, device, warm_up=1)
    over_backprop: dict[str, dict[str, Any]] = {
        gradient: {
            "memory": kept[gradient]["peak"] / kept["backprop"]["peak"],
            "time": ratio(seconds[gradient], seconds["backprop"]),
        }
        for gradient in GRADIENTS[1:]
    }
    shallow, deep = DEPTHS[0], DEPTHS[-1]
    per_node = (depths[deep]["peak"] - depths[shallow]["peak"]) / (deep - shallow)
    between = [(depths[b]["peak"] - depths[a]["peak"]) / (b - a) for a, b in pairwise(DEPTHS)]
    kept_per_node = activations_of_a_node(device)
    for gradient, found in over_backprop.items():
        memory, time = found["memory"], shown(found["time"])
        print(
            f"{gradient} over backprop, {options.scheme}, K={deep}: memory {memory:.3f}, time {time}"
        )
    each = ", ".join(f"{n / 1e6:.1f}" for n in between)
    print(
        f"Euler, for each further node: {per_node / 1e6:.1f} MB (from 1 to 2, 4, 8 and 16 nodes: {each})"
    )
    print(f"  of which autograd keeps {kept_per_node / 1e6:.1f} MB of activations for the way back")
    result = {
        "kept": kept,
        "depths": depths,
        "over_backprop": over_backprop,
        "bytes_per_node": per_node,
    }
    result["activation_bytes_per_node"] = kept_per_node
    write(options.json, result, device)


if __name__ == "__main__":
    main()
