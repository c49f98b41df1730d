"""A trained network needs its checkpoint alone, and computes what its run has measured."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import contnet
from contnet import load
from contnet.data import digits
from contnet.errors import ConfigError
from contnet.runs import checkpoint as checkpoints
from contnet.runs.checkpoint import Record

OPTIONS = {
    "batch_size": 8,
    "test_batch_size": 8,
    "val_size": 0.1,
    "split_seed": 0,
    "num_workers": 0,
}


def test_a_loaded_network_has_the_accuracy_that_its_run_has_measured(trained: Path) -> None:
    test = digits(**OPTIONS).test
    pixels = test.pixels.permute(0, 3, 1, 2)
    measured = json.loads((trained / "result.json").read_text())["test_accuracy"]
    for path in (trained, str(trained), trained / "checkpoints" / "last.ckpt"):
        net = load(path)
        predicted = net.predict(pixels, batch_size=100)
        assert (predicted.labels == test.labels).float().mean().item() == pytest.approx(measured)
    assert net.classes == tuple("0123456789")
    assert predicted.classes == [str(label) for label in predicted.labels.tolist()]
    assert torch.allclose(predicted.probabilities, net(pixels).softmax(dim=1), atol=1e-6)
    assert (net.manifestation.name, net.manifestation.n_time_steps) == ("euler", 1)
    net.set_manifestation("rk4_classic", 2)
    net(pixels[:1])
    assert net.n_f_evals == 24


def test_last_is_the_newest_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="in any folder of outputs/train"):
        load("last")
    day = tmp_path / "outputs" / "train" / "2026-01-01"
    day.mkdir(parents=True)
    trained.rename(day / "12-00-00")
    assert (
        load("last").preprocessing == digits(**OPTIONS, mean=[0.3055], std=[0.3761]).preprocessing
    )


def test_an_early_checkpoint_without_preprocessing_is_understood(trained: Path) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    expected = load(path).preprocessing
    checkpoint = checkpoints.load(str(path))
    del checkpoint["contnet"]["preprocessing"]
    checkpoints.save(path, checkpoint)
    assert load(path).preprocessing == expected
    checkpoint["contnet"]["config"]["dataset"] = {"_target_": "mydata.Cats"}
    checkpoints.save(path, checkpoint)
    with pytest.raises(ConfigError, match="does not say how its images are preprocessed"):
        load(path)


def test_a_checkpoint_with_other_weights_is_refused(trained: Path) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    checkpoint = checkpoints.load(str(path))
    record = Record.of(checkpoint)
    record.config["model"]["alpha"] = 10**6
    replace(record).put(checkpoint)
    checkpoints.save(path, checkpoint)
    with pytest.raises(ConfigError, match=r"the weights in '.*' are not those of the network"):
        load(path)


@pytest.mark.long
def test_loading_imports_neither_hydra_nor_lightning_nor_a_data_set(trained: Path) -> None:
    code = (
        "import sys, contnet; contnet.load(sys.argv[1]).save('net.safetensors');"
        "contnet.load('net.safetensors');"
        "print(*{'hydra', 'omegaconf', 'pytorch_lightning', 'sklearn'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(trained)],
        cwd=trained,
        env={"PYTHONPATH": str(Path(contnet.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
