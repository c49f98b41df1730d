"""The schema of the description of a network: what must be known to build it from a file.

A checkpoint holds such a description, and so does a file of weights.
"""

from collections.abc import Sequence
from typing import Any

from contnet.ode.bases import BASES
from contnet.ode.depth_time import Depth
from contnet.ode.schemes import SCHEMES
from contnet.runs.value_rules import (
    Rule,
    each,
    finite,
    integer,
    keys,
    one_of,
    optional,
    require,
    text,
)

MOST_STEPS = 4096
"""Time steps of an ODE block in a file. A command line may ask for any number."""

MOST_ADAPTIVE_STEPS = 2**16
"""The limit of an adaptive scheme's steps on an interval that a file may ask for."""

MOST_TOGETHER = 2**18
"""Steps of an ODE block times the square of the nodes that make up theta at one time."""

MOST_MANIFESTATIONS = 64
"""Manifestations that a network is trained in."""

MOST_CLASSES = 2**16


def basis(place: str, value: Any) -> None:
    """Check the name of a basis."""
    one_of(*BASES)(place, value)


STEPS = integer(1, MOST_STEPS)

MODEL_KEYS: dict[str, Rule] = {
    "n_time_steps_per": STEPS,
    "basis": basis,
    "scheme": text,
    "gradient": text,
    "max_num_steps": optional(integer(1, MOST_ADAPTIVE_STEPS)),
    "control": optional(text),
    "stitch_norm": text,
    "stride_in": text,
    "initialisation": text,
}

MODEL = keys({"_target_": text}, MODEL_KEYS)

DEPTH: dict[str, Rule] = {
    "basis": basis,
    "n_basis": integer(1),
    "n_time_steps": STEPS,
}

FACTORS: dict[str, Rule] = {
    "refined_by": integer(1, MOST_STEPS),
    "grown_by": integer(1, MOST_STEPS),
}

DOUBLINGS: dict[str, Rule] = {"n_refined": integer(0, 12)}
"""What earlier files have in place of the factors: refinements, each by the factor 2."""


def depths(place: str, value: Any) -> None:
    """Check the depths of the ODE blocks."""
    each(keys(DEPTH, {**FACTORS, **DOUBLINGS}))(place, value)
    for i, block in enumerate(value):
        others = block.keys() - DEPTH.keys()
        known = others in (FACTORS.keys(), DOUBLINGS.keys())
        names = ", ".join([*DEPTH, *FACTORS])
        require(known, f"{place}[{i}]", f"a depth of {names}")


def recorded_depth(block: dict[str, Any]) -> Depth:
    """Return a depth from the plain values of a file, which may be one of an earlier version."""
    values = dict(block)
    if "n_refined" in values:
        values["refined_by"] = 2 ** values.pop("n_refined")
    return Depth(**values)


MANIFESTATIONS = each(
    keys({"scheme": one_of(*SCHEMES), "n_time_steps": STEPS}), maximum=MOST_MANIFESTATIONS
)

CLASSES = each(text, minimum=2, maximum=MOST_CLASSES)


SIDE = integer(1, 2**14)


def preprocessing(place: str, value: Any) -> None:
    """Check the shape of images, and a mean and a standard deviation for each channel."""
    per_channel = each(finite)
    keys({"shape": each(SIDE, 3, 3), "mean": per_channel, "std": per_channel, "white": SIDE})(
        place, value
    )
    channels = value["shape"][0]
    fits = len(value) == 4 and len(value["mean"]) == len(value["std"]) == channels
    require(fits, place, f"a record of {channels} channels")
    require(all(value["std"]), f"{place}.std", "other than 0")


def check_depth(depth: Sequence[dict[str, Any]], model: dict[str, Any], n_tensors: int) -> None:
    """Check the sizes that a record states against the tensors that the file holds.

    Args:
        depth: the depths of the ODE blocks.
        model: the node of the network.
        n_tensors: the number of tensors.

    Raises:
        MalformedError: if they do not fit.
    """
    n_nodes = sum(block["n_basis"] for block in depth)
    enough = f"at most {n_tensors} nodes, the number of tensors in the file"
    require(n_nodes <= n_tensors, "depth", enough)
    for i, block in enumerate(depth):
        kind = BASES[block["basis"]]
        integer(1, kind.most_nodes)(f"depth[{i}].n_basis", block["n_basis"])
        together = 2 if kind.nodal else block["n_basis"]
        work = block["n_time_steps"] * together**2
        allowed = f"a depth with n_time_steps n_basis^2 of at most {MOST_TOGETHER:,}"
        require(work <= MOST_TOGETHER, f"depth[{i}]", allowed)
    most_nodes = BASES[model.get("basis", "piecewise_constant")].most_nodes
    for name, most in (("initial_time_d", most_nodes), ("depth", n_tensors)):
        if name in model:
            integer(1, min(n_tensors, most))(f"model.{name}", model[name])
    n_time_steps = model.get("initial_time_d", 1) * model.get("n_time_steps_per", 1)
    STEPS("model: initial_time_d n_time_steps_per", n_time_steps)
