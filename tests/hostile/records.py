"""Files whose record is hostile: names of what should be called, paths, sizes, and wrong types."""

from itertools import cycle
from typing import Any

from tests.hostile.crafting import (
    CANARY,
    OWNED,
    SHELL,
    Crafted,
    Good,
    put,
    saved,
    with_value,
)

CONFIG = "contnet/config"

SHELL_NODE = {
    "_target_": "pytorch_lightning.cli.instantiate_class",
    "args": SHELL,
    "init": {"class_path": "os.system"},
}

TARGETS: dict[str, dict[str, Any]] = {
    "a_class_path": SHELL_NODE,
    "a_call_of_hydra": {"_target_": "hydra.utils.call", "config": {"_target_": "os.system"}},
    "a_process": {"_target_": "subprocess.run", "args": ["touch", OWNED]},
    "exec": {"_target_": "builtins.exec", "_args_": [f"open({OWNED!r}, 'w')"]},
    "a_module_within_contnet": {
        "_target_": "contnet.runs.provenance.subprocess.run",
        "args": ["touch", OWNED],
    },
    "a_module_within_the_data": {"_target_": "contnet.data.sources.os.system", "command": SHELL},
    "a_writer_of_contnet": {"_target_": "contnet.runs.checkpoint.save", "path": CANARY},
    "a_table_of_metrics": {
        "_target_": "contnet.training.callbacks.metrics_file.MetricsFile",
        "path": CANARY,
    },
    "a_repository": {"_target_": "torch.hub.load", "repo_or_dir": "../x", "source": "local"},
    "a_pickle": {"_target_": "torch.load", "f": CANARY, "weights_only": False},
    "a_download": {
        "_target_": "torchvision.datasets.utils.download_url",
        "url": "{url}",
        "root": ".",
    },
    "an_archive": {
        "_target_": "torchvision.datasets.utils.extract_archive",
        "from_path": CANARY,
        "to_path": OWNED,
    },
    "an_exit": {"_target_": "sys.exit", "status": 0},
    "an_exit_at_once": {"_target_": "os._exit", "status": 0},
    "a_long_sleep": {"_target_": "time.sleep", "seconds": 10**6},
    "a_name_with_a_space": {"_target_": "contnet.ContinuousNet "},
    "a_name_of_other_letters": {"_target_": "contnet.СontinuousNet"},
    "a_name_within_a_class": {"_target_": "contnet.ContinuousNet.__init__.__globals__"},
    "a_module_that_does_not_exist": {"_target_": "nowhere.Net"},
    "lines_for_a_name": {"_target_": "contnet.data.digits\nerror: \x1b[31mall is well"},
    "a_list_for_a_name": {"_target_": ["os.system"]},
    "nothing_for_a_name": {"_target_": None},
}
"""Nodes of a configuration, by what they name."""


def _with_node(key: str, node: dict[str, Any]) -> Crafted:
    def craft(good: Good) -> bytes:
        real = {name: good.url if value == "{url}" else value for name, value in node.items()}
        return saved(put(good.tree(), f"{CONFIG}/{key}", real))

    return craft


def every_part_that_is_not_built_names_a_shell(good: Good) -> bytes:
    """Return a file that names a shell in every part of the configuration that no command builds.

    A study builds only network and data set; training resumes with the user's configuration.
    """
    tree = good.tree()
    node = {**SHELL_NODE, "decay_norm_and_bias": True}
    for key in ("lr_schedule", "callbacks/best", "callbacks/new", "logger/csv", "logger/new"):
        tree = put(tree, f"{CONFIG}/{key}", node)
    for key in ("trainer/plugins", "trainer/strategy", "trainer/profiler", "trainer/accelerator"):
        tree = put(tree, f"{CONFIG}/{key}", [node])
    tree = put(tree, f"{CONFIG}/hydra", {"run": {"dir": "elsewhere"}, "callbacks": {"x": node}})
    return saved(tree)


def its_model_checkpoint_removes(name: str) -> Crafted:
    """Return what makes a file that has Lightning's callback remove or move another file."""

    def craft(good: Good) -> bytes:
        tree = good.tree()
        key = next(key for key in tree["callbacks"] if key.startswith("ModelCheckpoint"))
        state = tree["callbacks"][key]
        state.update(
            dirpath=".", best_model_path=name, last_model_path=name, kth_best_model_path=name
        )
        state["best_k_models"] = {name: state["kth_value"]}
        return saved(tree)

    return craft


def is_nested_in_its_configuration(depth: int) -> Crafted:
    """Return what makes a file with lists in lists in its configuration."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return with_value(f"{CONFIG}/extra", value)


def shares_a_list(good: Good) -> bytes:
    """Return a file with a list of 2^40 values, of which 80 are written."""
    value: list[Any] = [0]
    for _ in range(40):
        value = [value, value]
    return saved(put(good.tree(), f"{CONFIG}/extra", value))


def _dataset(**options: Any) -> Crafted:
    """Return what makes a file whose data set is a folder of images, with other options."""

    def craft(good: Good) -> bytes:
        tree = good.tree()
        recorded = {**tree["contnet"]["config"]["dataset"], **options}
        return saved(put(tree, f"{CONFIG}/dataset", recorded))

    return craft


FOLDER = "contnet.data.image_folder"
CIFAR = "contnet.data.cifar10"
DATA_SETS: dict[str, Crafted] = {
    "reads_the_settings_of_the_machine": _dataset(_target_=FOLDER, root="/etc"),
    "reads_upwards": _dataset(_target_=FOLDER, root="../.."),
    "reads_processes": _dataset(_target_=FOLDER, root="/proc/self"),
    "reads_a_device": _dataset(_target_=FOLDER, root="/dev/zero"),
    "reads_the_canary": _dataset(_target_=FOLDER, root=CANARY),
    "reads_an_address": _dataset(_target_=FOLDER, root="http://127.0.0.1/"),
    "reads_a_path_with_a_zero": _dataset(_target_=FOLDER, root="a\0b"),
    "downloads": _dataset(_target_=CIFAR, root="downloaded", download=True),
    "reads_tiny_imagenet_of_the_machine": _dataset(
        _target_="contnet.data.tiny_imagenet", root="/etc"
    ),
    "has_a_path_of_a_terminal": _dataset(_target_=FOLDER, root="\x1b[31m"),
}

ENVIRONMENT = {
    "the_environment": "${oc.env:SECRET}",
    "the_environment_in_a_text": "prefix-${oc.env:SECRET}",
    "the_environment_decoded": "${oc.decode:${oc.env:SECRET}}",
    "a_created_node": "${oc.create:{_target_:os.system}}",
    "hydra": "${hydra:runtime.cwd}",
    "the_time": "${now:%Y}",
    "itself": "${model}",
    "a_missing_value": "???",
}

KEYS = ("dataset/root", "model/scheme", "trainer/precision", "run_dir", "extra")


def _targets() -> dict[str, Crafted]:
    """Return files that name a target as data set, as network, or within one of them."""
    places = ("dataset", "model", "model/rate", "dataset/mean", "model/scheme")
    files = {}
    for i, (name, node) in enumerate(TARGETS.items()):
        place = places[i % len(places)]
        files[f"names_{name}_as_{place.replace('/', '_')}"] = _with_node(place, node)
    return files


FILES: dict[str, Crafted] = {
    **_targets(),
    "names_a_shell_in_a_list": _with_node("dataset/mean", {"0": [[[SHELL_NODE]]]}),
    "names_a_shell_in_a_tuple": with_value(f"{CONFIG}/dataset/mean", (SHELL_NODE,)),
    "names_a_shell_in_tuples_of_lists": with_value(f"{CONFIG}/model/rtol", ([(SHELL_NODE,)],)),
    "names_a_rate_in_a_text": with_value(f"{CONFIG}/model/rate", "os.system"),
    "asks_for_a_partial_call": with_value(f"{CONFIG}/dataset/_partial_", True),
    "has_positional_arguments": with_value(f"{CONFIG}/dataset/_args_", [SHELL]),
    "has_a_key_with_dots": with_value(f"{CONFIG}/dataset/a._target_", "os.system"),
    "has_an_unknown_argument": with_value(f"{CONFIG}/dataset/\x1b[31m", 1),
    "has_a_key_that_is_no_text": with_value(f"{CONFIG}/dataset/1", 1),
    "every_part_that_is_not_built_names_a_shell": every_part_that_is_not_built_names_a_shell,
    "its_model_checkpoint_removes_the_canary": its_model_checkpoint_removes(CANARY),
    "its_model_checkpoint_removes_a_checkpoint_upwards": its_model_checkpoint_removes(
        "x/../../a.ckpt"
    ),
    "its_model_checkpoint_has_lines_for_a_name": its_model_checkpoint_removes("\x1b[31m\n.ckpt"),
    "is_nested_400_deep_in_its_configuration": is_nested_in_its_configuration(400),
    "shares_a_list": shares_a_list,
    **DATA_SETS,
    **{
        f"looks_up_{name}": with_value(f"{CONFIG}/{key}", value)
        for (name, value), key in zip(ENVIRONMENT.items(), cycle(KEYS))
    },
}
"""The files of this module, by what each one does."""
