"""Objects are built from a composed configuration, in a notebook as in a command."""

from hydra.core.hydra_config import HydraConfig

from contnet.commands import build
from tests.configuration import composed


def test_a_run_is_built_without_a_command() -> None:
    assert not HydraConfig.initialized()
    config = composed("epochs=3", "model.alpha=2", "~logger")
    build.check(config)
    data = build.data(config.dataset, train=True)
    network = build.network(config.model, data)
    classifier = build.classifier(config, network, data)
    trainer = build.trainer(config, classifier, data)
    assert (trainer.max_epochs, classifier.network, len(classifier.classes)) == (3, network, 10)
