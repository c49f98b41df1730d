"""Files with sizes out of all proportion, and files whose parts are of another type or missing."""

from itertools import cycle
from typing import Any

from tests.hostile.crafting import Crafted, Good, saved, with_value

CONFIG = "contnet/config"

SIZES: dict[str, tuple[str, Any]] = {
    "alpha_of_a_billion": (f"{CONFIG}/model/alpha", 10**9),
    "alpha_of_no_number": (f"{CONFIG}/model/alpha", "16"),
    "alpha_below_0": (f"{CONFIG}/model/alpha", -1),
    "a_widen_factor_of_a_billion": (f"{CONFIG}/model/widen_factor", 10**9),
    "a_billion_nodes_at_first": (f"{CONFIG}/model/initial_time_d", 10**9),
    "a_billion_nodes": ("contnet/depth/0/n_basis", 10**9),
    "10_to_12_steps": ("contnet/depth/0/n_time_steps", 10**12),
    "10_to_12_steps_for_each_node": (f"{CONFIG}/model/n_time_steps_per", 10**12),
    "steps_of_the_scheme_below_0": (f"{CONFIG}/scheme/n_time_steps_per", -(10**12)),
    "no_steps": ("contnet/depth/0/n_time_steps", 0),
    "many_refinements": ("contnet/depth/0/refined_by", 10**30),
    "an_epsilon_grown_without_end": ("contnet/depth/0/grown_by", 10**30),
    "an_epsilon_shrunk_to_0": ("contnet/depth/0/grown_by", 0),
    "a_depth_of_two_versions": ("contnet/depth/0/n_refined", 1),
    "a_legendre_basis_of_thousands": (
        "contnet/depth/0",
        {"basis": "legendre", "n_basis": 5000, "n_time_steps": 5000, "n_refined": 0},
    ),
    "more_blocks_than_the_network": (
        "contnet/depth",
        [{"basis": "piecewise_constant", "n_basis": 1, "n_time_steps": 1, "n_refined": 0}] * 50,
    ),
    "a_basis_of_another_kind": ("contnet/depth/0/basis", "legendre"),
    "a_basis_of_no_name": ("contnet/depth/0/basis", ["legendre"]),
    "images_of_a_billion_pixels": (f"{CONFIG}/dataset/image_size", 10**9),
    "a_crop_of_a_billion_pixels": (f"{CONFIG}/dataset/crop_padding", 10**9),
    "a_million_processes": (f"{CONFIG}/dataset/num_workers", 10**6),
    "batches_of_10_to_12": (f"{CONFIG}/dataset/test_batch_size", 10**12),
    "memory_without_end": (f"{CONFIG}/dataset/memory_gb", float("inf")),
    "no_images_in_a_batch": (f"{CONFIG}/dataset/batch_size", 0),
    "a_validation_of_everything": (f"{CONFIG}/dataset/val_size", 10**12),
    "no_training_images": (f"{CONFIG}/dataset/n_train", -5),
    "a_mean_of_many_channels": (f"{CONFIG}/dataset/mean", [0.0] * 10**5),
    "a_deviation_of_0": (f"{CONFIG}/dataset/std", [0.0]),
    "a_tolerance_of_1e-300": (
        f"{CONFIG}/model",
        {
            "_target_": "contnet.ContinuousNet",
            "alpha": 1,
            "scheme": "dopri5",
            "rtol": 1e-300,
            "atol": 1e-300,
        },
    ),
    "a_tolerance_that_is_no_number": (f"{CONFIG}/model/rtol", float("nan")),
    "an_unknown_scheme": (f"{CONFIG}/model/scheme", "\x1b[31mred"),
    "steps_of_an_infinite_length": (f"{CONFIG}/model/time_epsilon", float("inf")),
    "an_argument_of_no_network": (f"{CONFIG}/model/in_channels", 10**9),
    "a_depth_of_a_resnet": (f"{CONFIG}/model", {"_target_": "contnet.ResNet", "depth": 10**6}),
    "a_precision_of_a_plugin": (f"{CONFIG}/trainer/precision", "transformer-engine"),
    "a_strategy_of_many_processes": (f"{CONFIG}/trainer/devices", 10**6),
    "epochs_without_end": ("epoch", 10**18),
    "epochs_below_0": ("epoch", -1),
    "steps_without_end": ("global_step", 2**62),
    "a_version_without_end": ("pytorch-lightning_version", "1." + "9" * 4000),
    "a_version_that_is_migrated": ("pytorch-lightning_version", "0.0.1"),
    "classes_without_end": ("contnet/classes", ["0"] * 900_000),
    "classes_of_a_terminal": ("contnet/classes", ["\x1b[31mred\nerror: two lines"] * 10),
    "a_class_of_a_megabyte": ("contnet/classes", ["0" * 10**6] * 10),
}
"""Sizes and values, by what they are: the place in the tree, and the value there."""

WRONG: dict[str, Any] = {
    "nothing": None,
    "a_number": 7,
    "a_list": [],
    "a_text": "\x1b[2Jerror:\n\n",
}
PARTS = (
    *("contnet", "contnet/config", "contnet/config/dataset", "contnet/config/model"),
    *("contnet/config/scheme", "contnet/config/trainer", "contnet/depth", "contnet/depth/0"),
    *("contnet/classes", "state_dict", "optimizer_states", "optimizer_states/0", "loops"),
    *("optimizer_states/0/param_groups", "loops/fit_loop", "callbacks", "callbacks/Throughput"),
    *("lr_schedulers", "lr_schedulers/0", "epoch", "contnet/position"),
)
"""Parts of the tree."""

NEEDED = (
    *("contnet", "contnet/config", "contnet/config/dataset/_target_", "contnet/depth"),
    *("contnet/depth/0/basis", "state_dict", "optimizer_states/0/param_groups", "loops/fit_loop"),
    *("callbacks/Throughput/n_images", "pytorch-lightning_version", "epoch", "lr_schedulers"),
)


def _without(place: str) -> Crafted:
    def craft(good: Good) -> bytes:
        tree: Any = good.tree()
        *path, last = place.split("/")
        inside = tree
        for name in path:
            inside = inside[int(name) if name.isdigit() else name]
        del inside[last]
        return saved(tree)

    return craft


def _named(place: str) -> str:
    return place.replace("/", "_")


FILES: dict[str, Crafted] = {
    **{f"has_{name}": with_value(place, value) for name, (place, value) in SIZES.items()},
    **{
        f"has_{kind}_for_{_named(place)}": with_value(place, value)
        for place, (kind, value) in zip(PARTS, cycle(WRONG.items()))
    },
    **{f"has_no_{_named(place)}": _without(place) for place in NEEDED},
    "is_a_list": lambda good: saved([1, 2, 3]),
    "is_a_number": lambda good: saved(1),
    "is_of_another_program": lambda good: saved({"state_dict": {}, "epoch": 0}),
}
"""The files of this module, by what each one does."""
