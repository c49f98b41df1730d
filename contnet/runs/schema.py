"""The schema of a checkpoint: which types and sizes its tree may have.

A checkpoint is data from a file that anybody may have written. Before a tensor is read or an object
is built, its whole tree is compared with the rules here. They know what contnet and Lightning do
with a value, so that neither fails later in a way that the user cannot understand.
"""

import re
from pathlib import PurePath
from typing import Any

from contnet.runs.network_schema import (
    CLASSES,
    MANIFESTATIONS,
    MODEL,
    STEPS,
    check_depth,
    depths,
    preprocessing,
)
from contnet.runs.value_rules import (
    Rule,
    boolean,
    check_plain,
    counters,
    dictionary,
    each,
    integer,
    keys,
    mapping,
    number,
    one_of,
    optional,
    positive,
    require,
    resolved,
    tensor,
    text,
    values,
)

MOST_EPOCHS = 10**9

MOST_SETTINGS = 5000
"""Values in a configuration. OmegaConf takes a second for so many; a run has about 130."""

PRECISIONS = ("64-true", "32-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed", "64", "32")

KEY = "contnet"
"""The place of the record in a checkpoint."""


def check(tree: Any) -> None:
    """Check the tree of a checkpoint.

    Raises:
        KeyError: if it has no record: it is the file of another program.
        MalformedError: if a value is not allowed; the message names its place.
    """
    check_plain(tree)
    if not isinstance(tree, dict) or KEY not in tree or "state_dict" not in tree:
        raise KeyError(KEY)
    CHECKPOINT("", tree)
    record = tree[KEY]
    check_depth(record["depth"], record["config"]["model"], len(tree["state_dict"]))


def version(place: str, value: Any) -> None:
    """Check a version of Lightning whose checkpoints need no migration."""
    allowed = isinstance(value, str) and re.fullmatch(r"2\.\d{1,3}\.\d{1,3}[\w.+]{0,40}", value)
    require(bool(allowed), place, "a version of Lightning, such as 2.6.6")


def precision(place: str, value: Any) -> None:
    """Check the arithmetic of a Trainer, without plugins that import other packages."""
    one_of(*PRECISIONS)(place, str(value))


def best_checkpoint(place: str, value: Any) -> None:
    """Check the state of Lightning's ModelCheckpoint, which removes the files that it names.

    They may only be checkpoints in the folder that it saves to.
    """
    dictionary(place, value)
    folder = PurePath(str(value.get("dirpath")))

    def path(where: str, name: Any) -> None:
        text(where, name)
        inside = PurePath(name).parent == folder and name.endswith(".ckpt")
        require(name == "" or inside, where, "a checkpoint in dirpath")

    paths = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), path)
    keys({"best_model_path": path, "best_model_score": optional(tensor)}, {**paths})(place, value)
    for name, score in value.get("best_k_models", {}).items():
        path(f"{place}.best_k_models", name)
        tensor(f"{place}.best_k_models", score)


def callbacks(place: str, value: Any) -> None:
    """Check the states of callbacks: those of contnet and Lightning have a form."""
    mapping(dictionary)(place, value)
    for name, state in value.items():
        if name.startswith("ModelCheckpoint"):
            best_checkpoint(f"{place}.{name}", state)
    keys({}, CALLBACKS)(place, value)


DATA_SET: dict[str, Rule] = {
    "batch_size": integer(1, 2**16),
    "test_batch_size": integer(1, 2**16),
    "image_size": integer(1, 2**12),
    "crop_padding": integer(0, 2**10),
    "num_workers": integer(0, 2**10),
    "memory_gb": positive,
    "root": text,
    "skip_unreadable": boolean,
}

CONFIG = keys(
    {
        "run_dir": text,
        "ckpt_path": optional(text),
        "channels_last": boolean,
        "dataset": keys({"_target_": text}, DATA_SET),
        "model": MODEL,
        "optimizer": keys({"_target_": text}, {"decay_norm_and_bias": boolean}),
        "trainer": keys({"precision": precision}),
    },
    {"scheme": optional(keys({}, {"n_time_steps_per": STEPS, "gradient": text}))},
)


def _record(place: str, value: Any) -> None:
    keys(
        {
            "config": resolved,
            "classes": CLASSES,
            "depth": depths,
            "position": optional(each(mapping(mapping(tensor)))),
        },
        {
            "manifestations": MANIFESTATIONS,
            "preprocessing": optional(preprocessing),
        },
    )(place, value)
    n_settings = sum(1 for _ in values(value["config"]))
    require(n_settings <= MOST_SETTINGS, f"{place}.config", f"at most {MOST_SETTINGS} values")
    CONFIG(f"{place}.config", value["config"])
    known = {"config", "classes", "depth", "position", "manifestations", "preprocessing"}
    require(value.keys() <= known, place, f"a record of {', '.join(sorted(known))}")


OPTIMIZER = keys(
    {
        "state": mapping(dictionary, int),
        "param_groups": each(keys({"params": each(integer(0))})),
    }
)

CALLBACKS: dict[str, Rule] = {
    "Throughput": keys(
        {"train_seconds": positive, "n_images": integer(0)},
        {
            "n_f_evals": integer(0),
            "n_accepted": integer(0),
            "n_rejected": integer(0),
            "n_passes": integer(0),
        },
    ),
    "EpochMetrics": keys(
        {
            "metrics": mapping(number),
            "step": integer(0),
            "validated_at": integer(-1),
        }
    ),
    "ExponentialAverage": keys({"latest_update_step": integer(0)}),
}

CHECKPOINT = keys(
    {
        KEY: _record,
        "state_dict": mapping(tensor),
        "epoch": integer(0, MOST_EPOCHS),
        "global_step": integer(0),
        "pytorch-lightning_version": version,
        "loops": mapping(mapping(counters)),
        "callbacks": callbacks,
        "optimizer_states": each(OPTIMIZER),
        "lr_schedulers": each(keys({}, {"epochs": positive})),
    },
    {
        "current_model_state": mapping(tensor),
        "averaging_state": mapping(tensor),
        "MixedPrecision": mapping(number),
    },
)
