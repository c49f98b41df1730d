"""Networks of the original's options are saved and loaded as others are."""

from pathlib import Path

import pytest
import torch

import contnet
from contnet.errors import ConfigError
from tests.serving.made import images, trained

NODES = {
    "stitch_norm": {
        "_target_": "contnet.ContinuousNet",
        "alpha": 2,
        "initial_time_d": 2,
        "stitch_norm": "first",
    },
    "stride_in": {
        "_target_": "contnet.WideResNet",
        "alpha": 2,
        "depth": 10,
        "widen_factor": 2,
        "stride_in": "second",
        "initialisation": "pytorch",
    },
}


@pytest.mark.parametrize("key", NODES)
def test_a_file_of_weights_gives_the_same_network_back(key: str, tmp_path: Path) -> None:
    net = trained(NODES[key], refined=True)
    net.save(tmp_path / "net.safetensors")
    loaded = contnet.load(tmp_path / "net.safetensors")
    assert torch.equal(loaded(images()), net(images()))
    # The key makes the difference: without it, the same weights compute something else.
    other = trained({name: value for name, value in NODES[key].items() if name != key})
    assert not torch.equal(other(images()), net(images()))


@pytest.mark.parametrize("value", ["neither", 3, None])
@pytest.mark.parametrize("key", NODES)
def test_a_file_with_another_value_is_refused_in_one_line(
    key: str, value: object, tmp_path: Path
) -> None:
    node = dict(NODES[key])
    net = trained(node)
    node[key] = value
    net.save(tmp_path / "net.safetensors")
    with pytest.raises(ConfigError, match=key) as refused:
        contnet.load(tmp_path / "net.safetensors")
    assert "\n" not in str(refused.value)
