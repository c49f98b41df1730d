"""Folders of runs that are hostile: their record, their files, and links in place of files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.hostile.crafting import CANARY, OWNED, SHELL

CraftedFolder = Callable[[Path], None]
"""A function that makes the folder of a good run hostile."""

CALL = f"{{_target_:os.system,command:{SHELL!r}}}"

OVERRIDES: dict[str, list[str]] = {
    "moves_the_run": ["hydra.run.dir=elsewhere"],
    "chooses_a_launcher": ["hydra/launcher=joblib"],
    "adds_a_callback_of_hydra": [f"+hydra.callbacks.x={CALL}"],
    "adds_options_to_hydra": ["+callbacks@hydra.callbacks=default"],
    "sets_the_environment": ["++hydra.job.env_set.LD_PRELOAD=./x.so"],
    "adds_a_search_path": ["hydra.searchpath=[file://.]"],
    "adds_a_folder_of_options": ["--config-dir=."],
    "asks_for_a_sweep": ["-m"],
    "sweeps": ["seed=1,2,3"],
    "sweeps_without_end": ["seed=range(1,1000000000)"],
    "shuffles_a_sweep": ["seed=shuffle(range(1,1000000000))"],
    "chooses_an_option_upwards": ["dataset=../../x"],
    "chooses_an_option_anywhere": ["dataset=/etc/passwd"],
    "chooses_a_list_of_options": ["dataset=[digits,/etc/passwd]"],
    "adds_a_callback": [f"+callbacks.x={CALL}"],
    "replaces_a_callback": ["callbacks.best._target_=os.system"],
    "replaces_the_callbacks": [f"callbacks={{x:{CALL}}}"],
    "saves_checkpoints_elsewhere": ["callbacks.best.dirpath=."],
    "names_a_checkpoint_upwards": ["callbacks.best.filename=../../canary"],
    "writes_metrics_to_the_canary": [f"logger.csv.path={CANARY}"],
    "sends_figures": ["logger=wandb"],
    "adds_a_logger_that_sends": ["+logger@logger.x=wandb"],
    "moves_what_is_written": [f"run_dir={OWNED}"],
    "moves_what_lightning_writes": ["trainer.default_root_dir=."],
    "adds_a_plugin": [f"trainer.plugins=[{CALL}]"],
    "names_a_strategy": [f"trainer.strategy={CALL}"],
    "names_a_trainer": ["trainer._target_=os.system"],
    "names_an_optimizer": [f"optimizer={CALL}"],
    "names_a_rate": [f"model.rate={CALL}"],
    "names_a_network_in_quotes": [f"+model.x={{'_target_':os.system,command:{SHELL!r}}}"],
    "trusts_a_module": ["trust=[os]"],
    "looks_up_the_environment": ["dataset.val_size=${oc.env:SECRET}"],
    "looks_up_the_environment_in_quotes": ["+dataset.root='${oc.env:SECRET}'"],
    "looks_up_hydra": ["seed=${hydra:runtime.cwd}"],
    "has_positional_arguments": ["+dataset._args_=[1]"],
    "downloads_to_a_folder": ["dataset=cifar10", f"dataset.root={OWNED}"],
    "reads_a_folder_upwards": ["dataset=image_folder", "dataset.root=../.."],
    "reads_a_device": ["dataset=image_folder", "dataset.root=/dev/zero"],
    "starts_a_million_processes": ["dataset.num_workers=1000000"],
    "starts_many_devices": ["trainer.devices=1000000", "trainer.accelerator=cpu"],
    "starts_many_devices_in_a_text": ["trainer.devices='64'", "trainer.accelerator=cpu"],
    "starts_many_devices_by_number": ["trainer={devices:64,accelerator:cpu}"],
    "waits_for_another_machine": ["trainer.num_nodes=2", "trainer.accelerator=cpu"],
    "has_an_alpha_of_a_million": ["model.alpha=1000000"],
    "has_ten_million_nodes": ["model.initial_time_d=10000000"],
    "has_10_to_12_steps": ["scheme.n_time_steps_per=1000000000000"],
    "has_a_batch_of_10_to_12": ["dataset.batch_size=1000000000000"],
    "has_a_crop_of_a_million": ["dataset.crop_padding=1000000"],
    "has_a_million_refinements": [f"refine.epochs=[{','.join(map(str, range(3000)))}]"],
    "is_60_overrides_of_1000_characters": [f"+x{i}=[{'1,' * 490}1]" for i in range(60)],
    "nests_lists_in_60_overrides": [f"+x{i}={'[' * 400}{']' * 400}" for i in range(60)],
    "names_devices_by_number": [f"trainer.devices=[{','.join(map(str, range(64)))}]"],
    "names_a_target_below_a_target": [f"model={{_target_:{CALL}}}"],
    "has_a_target_in_a_key": [f"'+model._target_'={CALL}", f"++optimizer._target_.x={CALL}"],
    "has_a_plugin_for_precision": ["trainer.precision=transformer-engine"],
    "profiles_into_a_file": ["trainer.profiler=xla"],
    "writes_for_a_profile": ["trainer={profiler:pytorch,default_root_dir:elsewhere}"],
    "is_nested_3000_deep": [f"+x={'[' * 3000}{']' * 3000}"],
    "is_an_override_of_200_kb": [f"+x=[{'1,' * 100_000}1]"],
    "has_an_override_of_a_terminal": ["seed='\x1b[31mred'"],
    "has_an_override_of_two_lines": ["seed=1\nerror: all is well"],
    "has_an_override_that_is_none": ["}{"],
    "has_an_empty_override": [""],
}
"""Overrides that a record adds to those of the good run."""


def _overridden(added: list[str]) -> CraftedFolder:
    def craft(run: Path) -> None:
        overrides = ["epochs=1", "model.alpha=1", *added]
        (run / ".hydra/overrides.yaml").write_text(yaml.safe_dump(overrides))

    return craft


DOUBLING = "".join(
    ["- &a0 {k: 1}\n", *(f"- &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60))]
)

YAML: dict[str, bytes] = {
    "calls": f"!!python/object/apply:os.system [{SHELL!r}]".encode(),
    "calls_new": f"- !!python/object/new:os.system [{SHELL!r}]".encode(),
    "names_a_module": b"- !!python/module:antigravity",
    "has_doubling_merges": DOUBLING.encode(),
    "laughs": b"- &a0 [x]\n"
    + b"".join(b"- &a%d [*a%d, *a%d]\n" % (i, i - 1, i - 1) for i in range(1, 60)),
    "is_a_list_in_itself": b"&a [*a]",
    "is_nested_deep": b"[" * 100_000,
    "is_a_dictionary": b"epochs: 1",
    "is_a_list_of_numbers": b"- 1\n- 2",
    "is_a_long_number_of_base_60": b"- 1" + b":1" * 120_000,
    "is_a_long_number": b"- " + b"9" * 200_000,
    "is_no_utf_8": b"- \xff\xfe",
    "has_a_zero": b"- a\0b",
    "is_empty": b"",
    "is_too_large": b"- epochs=1\n" * 10**5,
    "breaks_off": b"- 'epochs",
}
"""Contents of a file of the record."""


def _written(name: str, content: bytes) -> CraftedFolder:
    def craft(run: Path) -> None:
        (run / name).write_bytes(content)

    return craft


def _without(name: str) -> CraftedFolder:
    return lambda run: (run / name).unlink()


def _linked(name: str, target: str) -> CraftedFolder:
    """Return what puts a link in place of a file or folder, which moves beside the run."""

    def craft(run: Path) -> None:
        if (run / name).exists():
            (run / name).rename(run.parent / "moved")
        (run / name).symlink_to(target)

    return craft


def _piped(name: str) -> CraftedFolder:
    def craft(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return craft


def its_checkpoint_is_a_folder(run: Path) -> None:
    (run / "checkpoints/last.ckpt").unlink()
    (run / "checkpoints/last.ckpt").mkdir()


def its_checkpoint_has_a_name_of_a_terminal(run: Path) -> None:
    (run / "\x1b[31m").mkdir()
    (run / "checkpoints").rename(run / "\x1b[31m/checkpoints")


TABLES: dict[str, bytes] = {
    "is_binary": b"\0\xff" * 100,
    "has_no_steps": b"epoch,loss\n0,1\n",
    "has_steps_that_are_text": b"epoch,step\n0,\x1b[31mred\n",
    "has_a_field_of_a_megabyte": b"epoch,step\n0," + b"9" * 10**6,
    "has_a_step_of_many_digits": b"epoch,step\n0," + b"9" * 10**4,
    "has_more_fields_than_names": b"epoch,step\n0,1,2,3\n",
}
"""Contents of a damaged metrics.csv."""

RECORDS: dict[str, CraftedFolder] = {
    **{f"its_record_{name}": _overridden(added) for name, added in OVERRIDES.items()},
    **{
        f"its_overrides_{name}": _written(".hydra/overrides.yaml", text)
        for name, text in YAML.items()
    },
    **{
        f"its_choices_{name}": _written(".hydra/hydra.yaml", YAML[name])
        for name in ("calls", "has_doubling_merges", "is_nested_deep", "is_empty", "is_no_utf_8")
    },
    "has_no_overrides": _without(".hydra/overrides.yaml"),
    "has_no_choices": _without(".hydra/hydra.yaml"),
    **{f"its_table_{name}": _written("metrics.csv", text) for name, text in TABLES.items()},
}
"""Folders whose record is hostile. Only training reads it."""

FILES: dict[str, CraftedFolder] = {
    "its_checkpoint_is_a_folder": its_checkpoint_is_a_folder,
    "its_checkpoint_has_a_name_of_a_terminal": its_checkpoint_has_a_name_of_a_terminal,
    "its_checkpoint_is_a_pipe": _piped("checkpoints/last.ckpt"),
    "its_checkpoint_is_a_device": _linked("checkpoints/last.ckpt", "/dev/zero"),
    "its_checkpoint_is_a_link": _linked("checkpoints/last.ckpt", "../../moved"),
    "its_checkpoints_are_a_link": _linked("checkpoints", "../moved"),
}
"""Folders whose checkpoint is no file. Both commands read it."""

LINKS: dict[str, CraftedFolder] = {
    "its_record_is_a_link": _linked(".hydra", "../moved"),
    "its_overrides_are_a_link": _linked(".hydra/overrides.yaml", f"../../{CANARY}"),
    "its_overrides_are_a_device": _linked(".hydra/overrides.yaml", "/dev/zero"),
    "its_overrides_are_a_pipe": _piped(".hydra/overrides.yaml"),
    "its_configuration_is_a_link": _linked(".hydra/config.yaml", f"../../{CANARY}"),
    "its_table_is_a_link": _linked("metrics.csv", f"../{CANARY}"),
    "its_table_is_a_pipe": _piped("metrics.csv"),
    "its_log_is_a_link": _linked("train.log", f"../{CANARY}"),
    "its_log_is_a_pipe": _piped("train.log"),
    "its_result_is_a_link": _linked("result.json", f"../{CANARY}"),
    "its_tensorboard_is_a_link": _linked("tensorboard", "/tmp"),
    "its_best_checkpoint_is_a_link": _linked("checkpoints/best.ckpt", f"../../{CANARY}"),
    "a_new_checkpoint_is_a_link": _linked("checkpoints/best-v1.ckpt", f"../../{CANARY}"),
}
"""Folders with links and pipes in place of files that training writes."""

ALL: dict[str, Any] = {**RECORDS, **FILES, **LINKS}
