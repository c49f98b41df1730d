"""A file of weights: tensors in the format of safetensors, and beside them a description in JSON.

Nothing in such a file can be executed. Its description is compared with a schema before anything is
built from it.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn

from contnet.data.preprocessing import Preprocessing
from contnet.errors import ConfigError
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import AdaptiveScheme, Scheme, find_scheme, scheme_names, with_tolerances
from contnet.runs import network_schema
from contnet.runs.atomic import write_atomically
from contnet.runs.checkpoint import in_one_line
from contnet.runs.schema import KEY
from contnet.runs.value_rules import (
    boolean,
    check_plain,
    each,
    integer,
    keys,
    one_of,
    optional,
    positive,
    require,
    resolved,
    text,
)
from contnet.serving.blueprint import Blueprint

SUFFIX = ".safetensors"

VERSION = 1
"""The version of the description, which lies at `KEY` in the metadata of the file."""

LONGEST = 2**24
"""Characters of a description."""

SCHEME = keys(
    {"name": one_of(*scheme_names())},
    {
        "rtol": optional(positive),
        "atol": optional(positive),
        "max_num_steps": optional(integer(1, network_schema.MOST_ADAPTIVE_STEPS)),
        "control": optional(text),
    },
)

DESCRIPTION = keys(
    {
        "version": integer(VERSION, VERSION),
        "model": resolved,
        "classes": network_schema.CLASSES,
        "preprocessing": network_schema.preprocessing,
        "channels_last": boolean,
        "depth": network_schema.depths,
        "manifestations": network_schema.MANIFESTATIONS,
        "schemes": optional(each(SCHEME)),
    }
)


def save(path: Path, network: nn.Module, blueprint: Blueprint) -> None:
    """Save a network and its blueprint atomically.

    Raises:
        ValueError: if the name has another suffix, there is no such folder, or a scheme has no
            name.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"path must end with {SUFFIX}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise ValueError(f"path must lie in a folder that exists; {str(path.parent)!r} does not")
    # Tensors that the network holds in two places are written twice.
    tensors = {name: one.contiguous().clone() for name, one in network.state_dict().items()}
    description = json.dumps(_described(blueprint), allow_nan=False)
    write_atomically(path, serialised(tensors, {KEY: description}))


def load(path: str) -> tuple[Blueprint, dict[str, Tensor]]:
    """Return the blueprint and the tensors in a file of weights.

    Raises:
        ConfigError: if there is no such file, or contnet has not saved it.
    """
    if not Path(path).is_file():
        raise ConfigError(f"path must be a file of weights; there is none at {path!r}")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            description = _checked((file.metadata() or {}).get(KEY), len(names))
            blueprint = _blueprint(description)
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"path must be a file of weights that contnet saved; {path!r} is not "
            f"({in_one_line(error)})"
        ) from error
    return blueprint, tensors


def _checked(text: str | None, n_tensors: int) -> dict[str, Any]:
    """Return the description in a file, which follows the network_schema.

    Raises:
        ValueError: if it does not.
    """
    if text is None:
        raise ValueError("it has no description of a network")
    require(len(text) <= LONGEST, "the description", f"at most {LONGEST:,} characters")
    description: dict[str, Any] = json.loads(text)
    check_plain(description)
    DESCRIPTION("", description)
    network_schema.MODEL("model", description["model"])
    network_schema.check_depth(description["depth"], description["model"], n_tensors)
    return description


def _described(blueprint: Blueprint) -> dict[str, Any]:
    return {
        "version": VERSION,
        "model": blueprint.model,
        "classes": list(blueprint.classes),
        "preprocessing": asdict(blueprint.preprocessing),
        "channels_last": blueprint.channels_last,
        "depth": [asdict(block) for block in blueprint.depth],
        "manifestations": [
            {"scheme": one.name, "n_time_steps": one.n_time_steps}
            for one in blueprint.manifestations
        ],
        "schemes": None if blueprint.schemes is None else [*map(_named, blueprint.schemes)],
    }


def _named(scheme: Scheme | AdaptiveScheme) -> dict[str, Any]:
    """Describe a scheme by its name and its settings.

    Raises:
        ValueError: if the name stands for another scheme, or for none.
    """
    described: dict[str, Any] = {"name": scheme.name}
    if isinstance(scheme, AdaptiveScheme):
        described |= {
            name: getattr(scheme, name) for name in ("rtol", "atol", "max_num_steps", "control")
        }
    if scheme.name not in scheme_names() or _scheme(described) != scheme:
        raise ValueError(
            f"the network is computed by a scheme of your own, {scheme.name!r}, which a file "
            "cannot name; set another manifestation first"
        )
    return described


def _scheme(described: dict[str, Any]) -> Scheme | AdaptiveScheme:
    names = ("rtol", "atol", "max_num_steps", "control")
    return with_tolerances(find_scheme(described["name"]), *map(described.get, names))


def _blueprint(description: dict[str, Any]) -> Blueprint:
    preprocessing = Preprocessing.of(description["preprocessing"])
    assert preprocessing is not None, "the schema asks for it"
    schemes = description["schemes"]
    return Blueprint(
        model=description["model"],
        classes=tuple(description["classes"]),
        preprocessing=preprocessing,
        channels_last=description["channels_last"],
        depth=tuple(network_schema.recorded_depth(block) for block in description["depth"]),
        manifestations=tuple(
            Manifestation(find_scheme(one["scheme"]), one["n_time_steps"])
            for one in description["manifestations"]
        ),
        schemes=None if schemes is None else tuple(map(_scheme, schemes)),
    )
