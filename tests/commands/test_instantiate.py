"""Names of a configuration that are built, and names that are refused."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from contnet.commands import build
from tests.configuration import composed
from tests.conftest import Run


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "contnet.runs.provenance.subprocess.run",
        "pytorch_lightning.trainer.trainer.os.system",
        "torchvision.datasets.cifar.pickle.loads",
        "contnet.runs.checkpoint.torch.load",
        "builtins.eval",
    ],
)
def test_a_configuration_calls_nothing_but_trusted_packages(
    run: Run, trained: Path, target: str
) -> None:
    code, _, err = run("train", f"dataset._target_={target}")
    assert (code, err.count("\n")) == (1, 1)
    assert (
        "dataset._target_ must name something of contnet., torch.optim., pytorch_lightning., "
        in err
    )
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    checkpoint["contnet"]["config"]["dataset"]["_target_"] = target
    torch.save(checkpoint, "edited.ckpt")
    code, _, err = run("evaluate", "ckpt_path=edited.ckpt")
    assert (code, err.count("\n")) == (1, 1)
    assert "_target_ must name something of " in err


def test_a_target_that_is_not_ours_is_never_called() -> None:
    config = composed()
    OmegaConf.update(
        config, "callbacks.evil", {"_target_": "os.system", "command": "false"}, force_add=True
    )
    data = build.data(config.dataset, train=False)
    classifier = build.classifier(config, build.network(config.model, data), data)
    with pytest.raises(
        build.ConfigError,
        match=r"callbacks.evil._target_ must name something of .*; got 'os.system'",
    ):
        build.trainer(config, classifier, data)
