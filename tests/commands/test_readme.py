"""Every command of the README composes."""

import re
from pathlib import Path

import pytest

from contnet.commands import build
from tests.configuration import composed

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_every_command_of_the_readmes_composes() -> None:
    commands = re.findall(r"^    python train\.py (.+?)(?:\s{2,}#.*)?$", README, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        words = [word for word in command.split() if word != "-m" and not word.startswith("-")]
        swept = [re.sub(r"=([^\[,]+),.*", r"=\1", word) for word in words]
        build.check(composed(*swept))


def test_the_originals_commands_are_the_rows() -> None:
    commands = README[README.index("its commands are") : README.index("and its flags")]
    translated = re.findall(r"python train\.py (.+)", commands)
    rows = ("resnet20", "continuous_net_euler", "continuous_net_rk4", "continuous_net_rk4_refined")
    for command, row in zip(translated, rows, strict=True):
        assert composed(*command.split()) == composed(f"experiment=cifar10/{row}")


FLAGS = re.findall(r"^\| `(--[^`]+)` \| `([^`]+)` \|$", README, re.MULTILINE)


def test_every_flag_of_the_originals_is_translated() -> None:
    names = (
        "--dataset --batch-size --test-batch-size --epochs --lr --lr-decay "
        "--lr-decay-epoch --weight-decay"
    )
    names += (
        " --batch-norm --device --seed --model --scheme --n_time_steps_per "
        "--initial_time_d --time_epsilon"
    )
    names += " --use_skipinit --alpha --widen_factor --refine"
    assert [flag.split()[0] for flag, _ in FLAGS] == names.split()


@pytest.mark.parametrize(("flag", "overrides"), FLAGS, ids=[flag for flag, _ in FLAGS])
def test_a_translated_flag_composes(flag: str, overrides: str) -> None:
    build.check(composed(*overrides.split()))
