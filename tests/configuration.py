"""Configurations as the command line composes them."""

from pathlib import Path

from hydra import compose, initialize_config_dir

CONF = Path(__file__).parents[1] / "conf"


GROUPS = (
    "dataset",
    "model",
    "scheme",
    "optimizer",
    "lr_schedule",
    "trainer",
    "callbacks",
    "logger",
    "debug",
)

NAMED = {"model": "contnet.ResNet", "dataset": "contnet.data.digits"}
"""A class or function for the option `own` of a group, which has none."""


def composed(*overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", ["run_dir=run", *overrides])


def options() -> list[str]:
    return [
        f"{group}={file.relative_to(CONF / group).with_suffix('')}"
        for group in GROUPS
        for file in sorted((CONF / group).rglob("*.yaml"))
    ]
