"""A checkpoint that is damaged at any node of its tree, or anywhere in its bytes, is one line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from torch import nn

from contnet.commands import build, restore
from contnet.commands.trust import recorded_config
from contnet.data import ImageData
from contnet.errors import ConfigError
from contnet.runs import checkpoint as checkpoints
from contnet.runs.checkpoint import Record
from tests.configuration import composed
from tests.processes import train
from tests.runs.damage import damaged, nodes

TINY = ("model.alpha=1", "model.stitch=false", "model.batch_norm=false", "epochs=1")

THOROUGH = settings(
    max_examples=2000,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Run:
    """A run that has saved the checkpoint `file`, and what a command makes to resume it."""

    file: Path
    config: DictConfig
    data: ImageData
    network: nn.Module
    trainer: Trainer

    def evaluate(self, checkpoint: dict[str, Any]) -> None:
        """Restore the network of a checkpoint as evaluate.py does."""
        record = Record.of(checkpoint)
        config = recorded_config("damaged.ckpt", record, trusted=())
        restore.restore_network(checkpoint, config, self.data)

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Check a checkpoint as train.py does before it resumes a run."""
        restore.check_fits(checkpoint, self.config, self.network, self.trainer)


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("damage")
    assert train(*TINY, "hydra.run.dir=run", folder=folder).returncode == 0
    config = composed(*TINY, f"run_dir={folder / 'again'}")
    data = build.data(config.dataset, train=True)
    network = build.network(config.model, data)
    trainer = build.trainer(config, build.classifier(config, network, data), data)
    return Run(folder / "run" / "checkpoints" / "last.ckpt", config, data, network, trainer)


def is_one_line(file: Path, use: Callable[[dict[str, Any]], None]) -> bool:
    """Return True if a file is refused in one line of printable text; False if it is accepted."""
    refusal = None
    try:
        use(checkpoints.load(str(file)))
    except ConfigError as error:
        refusal = str(error)
    assert refusal is None or (refusal.isprintable() and len(refusal) < 1000)
    return refusal is not None


def test_a_checkpoint_without_damage_is_evaluated_and_resumed(of: Run) -> None:
    assert not is_one_line(of.file, of.evaluate)
    assert not is_one_line(of.file, of.resume)


@pytest.mark.long
def test_damage_at_any_node_is_refused_in_one_line_or_does_no_harm(of: Run) -> None:
    good = torch.load(of.file, weights_only=True)
    places = list(nodes(good))
    file = of.file.with_name("damaged.ckpt")
    refused = []

    @THOROUGH
    @given(place=st.sampled_from(places), way=st.integers(0), resumes=st.booleans())
    def damage(place: tuple[Any, ...], way: int, resumes: bool) -> None:
        ways = list(damaged(good, place))
        torch.save(ways[way % len(ways)][1], file)
        # Evaluation looks at nothing but the record and the weights.
        resumes = resumes or place[0] not in ("contnet", "state_dict")
        refused.append(is_one_line(file, of.resume if resumes else of.evaluate))

    damage()
    assert len(refused) >= 2000
    # Most damage hits what is checked; weights of other values, and settings of the run, do not.
    assert sum(refused) > len(refused) / 2


def test_damage_to_any_byte_is_refused_in_one_line_or_does_no_harm(of: Run) -> None:
    good = of.file.read_bytes()
    file = of.file.with_name("damaged.ckpt")

    @settings(THOROUGH, max_examples=300)
    @given(start=st.integers(0, len(good)), noise=st.binary(max_size=8), keeps=st.booleans())
    def damage(start: int, noise: bytes, keeps: bool) -> None:
        rest = good[start + len(noise) :] if keeps else b""
        file.write_bytes(good[:start] + noise + rest)
        is_one_line(file, of.evaluate)

    damage()
