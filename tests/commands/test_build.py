"""Objects are built from a composed configuration, in a notebook as in a command."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from contnet.commands import build, console
from contnet.errors import ConfigError
from tests.configuration import CONF, composed


def test_a_run_is_built_and_trains_without_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # an earlier test may have set it
    config = composed("epochs=1", "model.alpha=2", "~logger", "trainer.limit_train_batches=1")
    build.check(config)
    data = build.data(config.dataset, train=True)
    network = build.network(config.model, data)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    classifier = build.classifier(config, network, data)
    trainer = build.trainer(config, classifier, data)
    assert (trainer.max_epochs, classifier.network, len(classifier.classes)) == (1, network, 10)
    console.quieten()  # Lightning's remarks are warnings, which fail a test
    trainer.fit(classifier, data.train_loader(config.seed), data.val_loader())
    assert trainer.global_step == 1
    after = dict(network.named_parameters())
    assert not any(torch.equal(after[name], before[name]) for name in before if "weight" in name)
    assert not HydraConfig.initialized()


def test_a_configuration_without_a_folder_says_which_key_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train")
    with pytest.raises(ConfigError, match="run_dir must be given outside of a command"):
        build.check(config)
