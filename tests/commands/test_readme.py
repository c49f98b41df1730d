"""Every command of README.md and of the pages in docs/ composes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from contnet.commands import build
from tests.configuration import composed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
ORIGINAL = (ROOT / "docs" / "original.md").read_text()


def _overrides(text: str) -> Iterator[list[str]]:
    """Yield the overrides of each command `python train.py` in fenced blocks and in tables."""
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = [
        *blocks.replace("\\\n", " ").splitlines(),
        *re.findall(r"\| `(python .+?)` \|$", text, re.MULTILINE),
    ]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:2] == ["python", "train.py"]:
            yield [word for word in words[2:] if not word.startswith("-")]


@pytest.mark.parametrize(("text", "at_least"), [(README, 9), (GUIDE, 15), (ORIGINAL, 6)])
def test_every_command_of_the_pages_composes(text: str, at_least: int) -> None:
    commands = list(_overrides(text))
    assert len(commands) >= at_least
    for command in commands:
        build.check(composed(*(re.sub(r"=([^\[,]+),.*", r"=\1", word) for word in command)))


def test_the_originals_commands_are_the_rows() -> None:
    commands = list(
        _overrides(ORIGINAL[ORIGINAL.index("## Commands") : ORIGINAL.index("## Flags")])
    )
    rows = ("resnet20", "continuous_net_euler", "continuous_net_rk4", "continuous_net_rk4_refined")
    assert commands[::2] == [[f"experiment=original/{row}"] for row in rows]
    for row, by_key in zip(commands[::2], commands[1::2], strict=True):
        assert composed(*by_key) == composed(*row)


FLAGS = re.findall(r"^\| `(--[^`]+)` \|[^|]*\| `([^`]+)` \|$", ORIGINAL, re.MULTILINE)


def test_every_flag_of_the_originals_scripts_is_translated() -> None:
    cli = "--model --model --model --scheme --dataset --dataset --dataset --epochs --lr --lr_decay"
    cli += " --lr_decay_epoch --weight_decay --batch_size --test_batch_size --alpha --widen_factor"
    cli += " --initial_time_d --n_time_steps_per --time_epsilon --use_skipinit --refine --seed"
    cli += " --device"
    resnet = " --arch --arch --depth_res --depth_wide --widen_factor --dropout --name --epochs --lr"
    resnet += " --lr_decay --lr_decay_epoch --lr_schedule --weight_decay --batch_size"
    resnet += " --test_batch_size --seed"
    cli_resnet = " --batch-size --test-batch-size --epochs --lr --lr-decay --lr-decay-epoch"
    cli_resnet += " --weight-decay --device --seed"
    assert [flag.split()[0] for flag, _ in FLAGS] == (cli + resnet + cli_resnet).split()
    for flag in ("--batch-norm", "--nclass", "--use_batch_norms"):
        assert f"`{flag}" in ORIGINAL


@pytest.mark.parametrize("overrides", dict.fromkeys(overrides for _, overrides in FLAGS))
def test_a_translated_flag_composes(overrides: str) -> None:
    build.check(composed(*overrides.split()))
