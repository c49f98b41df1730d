"""The checkpoint of a run: Lightning's dictionary, with a record of contnet in it.

The record says what the weights belong to: the configuration of the run, the classes, the depth of
each ODE block, and the position within an epoch. It consists of plain containers, strings and
numbers. So nothing in the file is executed when it is loaded, and `schema` says what it may hold.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from contnet.data.preprocessing import Preprocessing
from contnet.errors import ConfigError
from contnet.ode import statistics
from contnet.ode.depth_time import Depth, depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import find_scheme
from contnet.runs import schema
from contnet.runs.archive import Archive
from contnet.runs.atomic import write_atomically
from contnet.runs.folder import LAST
from contnet.runs.network_schema import recorded_depth
from contnet.runs.pickled import read_tree
from contnet.runs.schema import KEY
from contnet.runs.tensors import with_tensors
from contnet.runs.value_rules import check_plain

PREFIX = "network."

EXPORTED = {
    ".safetensors": "a file of weights, to predict and export with; its run has the checkpoint",
    ".onnx": "an exported file; give the checkpoint that it was made from",
    ".pt2": "an exported file; give the checkpoint that it was made from",
}
"""Suffixes of files that contnet writes beside checkpoints, and what they are."""


@dataclass(frozen=True)
class Record:
    """The record of a run within its checkpoint.

    Args:
        config: the configuration, resolved, in plain containers.
        classes: names of the classes, in the order of the labels.
        depth: the depth of each ODE block; empty if the network has none.
        position: within an epoch, the sums of the training metrics of each process; None at the
            end of an epoch.
        manifestations: those that the norms keep statistics of; empty unless the network is trained
            in several.
        preprocessing: the shape of the images, and their normalisation; None where it is unknown.
    """

    config: dict[str, Any]
    classes: tuple[str, ...]
    depth: tuple[Depth, ...]
    position: list[dict[str, Any]] | None = None
    manifestations: tuple[Manifestation, ...] = ()
    preprocessing: Preprocessing | None = None

    @classmethod
    def of(cls, checkpoint: dict[str, Any]) -> Self:
        """Return the record in a checkpoint.

        Raises:
            KeyError, TypeError: if there is none, or it has other keys.
        """
        content = dict(checkpoint[KEY])
        depth = tuple(recorded_depth(block) for block in content.pop("depth"))
        manifestations = tuple(
            Manifestation(find_scheme(one["scheme"]), one["n_time_steps"])
            for one in content.pop("manifestations", [])  # earlier checkpoints have none
        )
        classes = tuple(content.pop("classes"))
        preprocessing = Preprocessing.of(content.pop("preprocessing", None))
        if preprocessing is None:
            preprocessing = Preprocessing.recorded(content["config"]["dataset"])
        return cls(
            classes=classes,
            depth=depth,
            manifestations=manifestations,
            preprocessing=preprocessing,
            **content,
        )

    def put(self, checkpoint: dict[str, Any]) -> None:
        """Write the record into a checkpoint, in place of an earlier one."""
        checkpoint[KEY] = {
            "config": self.config,
            "classes": list(self.classes),
            "depth": [asdict(block) for block in self.depth],
            "position": self.position,
            "manifestations": [
                {"scheme": one.name, "n_time_steps": one.n_time_steps}
                for one in self.manifestations
            ],
            "preprocessing": None if self.preprocessing is None else asdict(self.preprocessing),
        }


def save(path: Path, checkpoint: dict[str, Any]) -> None:
    """Save a checkpoint atomically, and make its folder if it is missing."""
    content = BytesIO()
    torch.save(checkpoint, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getbuffer())


def load(path: str, key: str = "ckpt_path") -> dict[str, Any]:
    """Load a checkpoint that a run has written, with its tensors on the CPU.

    The whole file is compared with the schema before a tensor of it is read.

    Args:
        path: the checkpoint.
        key: the key or argument that names it, for messages.

    Raises:
        ConfigError: if there is no such file, or no run of contnet has saved it.
    """
    return read(path, schema.check, key)


def read(
    path: str, check: Callable[[Any], None] = check_plain, key: str = "ckpt_path"
) -> dict[str, Any]:
    """Load a file of tensors and plain containers, whose tree passes `check`.

    Raises:
        ConfigError: if there is no such file, or it does not pass.
    """
    what = "there is none at" if not Path(path).is_dir() else f"{LAST} is one, in the folder"
    if not Path(path).is_file():
        raise ConfigError(f"{key} must be a checkpoint file; {what} {path!r}")
    ours = f"{key} must be a checkpoint that contnet wrote; {path!r}"
    if Path(path).suffix in EXPORTED:
        raise ConfigError(f"{ours} is {EXPORTED[Path(path).suffix]}")
    try:
        with Archive(Path(path)) as archive:
            tree = read_tree(archive)
            check(tree)
            checkpoint: dict[str, Any] = with_tensors(tree, archive)
    except KeyError as error:
        raise ConfigError(f"{ours} is another program's") from error
    except Exception as error:  # of any kind: a damaged file fails wherever it is damaged
        raise ConfigError(
            f"{ours} is damaged or no checkpoint, or holds objects that would have to be executed "
            f"to be read ({in_one_line(error)})"
        ) from error
    return checkpoint


def in_one_line(error: Exception) -> str:
    """Return a message without the control characters that a file may have put into it."""
    text = "".join(one if one.isprintable() else " " for one in str(error))
    return " ".join(text.split())[:200]


def weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of the network in a checkpoint, by their names in the network."""
    return {
        name.removeprefix(PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(PREFIX)
    }


def with_weights(checkpoint: dict[str, Any], network: nn.Module) -> dict[str, Tensor]:
    """Return a checkpoint's state dictionary with the weights of `network` in place of its own."""
    state = checkpoint["state_dict"]
    others = {name: value for name, value in state.items() if not name.startswith(PREFIX)}
    own = {f"{PREFIX}{name}": value.cpu() for name, value in network.state_dict().items()}
    return {**others, **own}


def resize(network: nn.Module, record: Record, n_time_steps_per: int) -> None:
    """Resize a network to the depth of a checkpoint, so that its weights and statistics fit.

    The number of steps is the checkpoint's, times the ratio of `n_time_steps_per` to the value that
    the checkpoint's run had. A network without depth-time, or with another number of ODE blocks,
    stays unchanged.

    Raises:
        ValueError: if a depth does not suit the settings of the network.
    """
    depth = depth_time(network)
    if depth is None or len(record.depth) != len(depth.blocks):
        return
    trained_per = steps_per_node(record.config)
    depth.resize(
        tuple(
            Depth(
                block.basis,
                block.n_basis,
                max(1, block.n_time_steps * n_time_steps_per // trained_per),
                block.refined_by,
                block.grown_by,
            )
            for block in record.depth
        )
    )
    statistics.provide(network, record.manifestations)


def steps_per_node(config: Any) -> int:
    """Return `scheme.n_time_steps_per` of a configuration, 1 where it has none."""
    n_time_steps_per: int = (config.get("scheme") or {}).get("n_time_steps_per", 1)
    return n_time_steps_per
