"""A saved network is read back bit for bit, and a stranger's file is data."""

import copy
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from contnet import ContinuousNet, load
from contnet.errors import ConfigError
from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import Scheme
from tests.serving.made import NETWORKS, SET, images, trained

TRUST = "tests.serving.made"


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_saved_network_is_read_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    net = trained(NETWORKS[kind])
    net.save(tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors", trust=TRUST if "own" in kind else ())
    assert torch.equal(again(images()), net(images()))
    assert again.blueprint == net.blueprint
    state, expected = again.state_dict(), net.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)


@pytest.mark.parametrize("kind", ["post-activation", "continuous linear", "Legendre"])
def test_refined_nodes_and_statistics_of_each_manifestation_are_in_the_file(
    kind: str, tmp_path: Path
) -> None:
    net = trained(NETWORKS[kind], refined=True, several=True)
    net.set_manifestation("midpoint", 3)
    net.save(tmp_path / "net.safetensors")
    again = load(str(tmp_path / "net.safetensors"))
    assert again.manifestations == SET
    assert again.manifestation == net.manifestation
    for one in (again.manifestation, *SET):
        for network in (net, again):
            network.set_manifestation(one.scheme, one.n_time_steps)
        assert torch.equal(again(images()), net(images()))


def test_tolerances_are_in_the_file(tmp_path: Path) -> None:
    net = trained(NETWORKS["adaptive"])
    net.set_manifestation(rtol=0.125, atol=0.5)
    net.save(tmp_path / "net.safetensors")
    scheme = load(tmp_path / "net.safetensors").manifestation.scheme
    assert (scheme.rtol, scheme.atol, scheme.control) == (0.125, 0.5, "image")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_keep_their_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    net = trained(NETWORKS["post-activation"], dtype=dtype)
    net.save(tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert again(images()).dtype == dtype
    assert torch.equal(again(images()), net(images()))


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    net = trained(NETWORKS["post-activation"])
    first, second = depth_time(net).blocks[0].nodes
    second.load_state_dict(first.state_dict())
    for name, weight in first.named_parameters():
        owner, _, last = name.rpartition(".")
        setattr(second.get_submodule(owner), last, weight)
    net.save(tmp_path / "net.safetensors")
    assert torch.equal(load(tmp_path / "net.safetensors")(images()), net(images()))


def test_what_cannot_be_saved_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    net = trained(NETWORKS["post-activation"])
    with pytest.raises(ValueError, match=r"path must end with .safetensors, got"):
        net.save(tmp_path / "net.ckpt")
    with pytest.raises(ValueError, match="path must lie in a folder that exists"):
        net.save(tmp_path / "nowhere" / "net.safetensors")
    net.set_manifestation(Scheme("mine", 1, ((),), (1,), (0,)))
    with pytest.raises(ValueError, match="a scheme of your own, 'mine', which a file cannot name"):
        net.save(tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def described(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the description in a file."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    description = json.loads(header["__metadata__"]["contnet"])
    changed = change(description)
    text = changed if isinstance(changed, str) else json.dumps(description)
    header["__metadata__"]["contnet"] = text
    new = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(new)) + new + content[8 + length :])


CRAFTED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another program's class": (
        lambda it: it["model"].update(_target_="os.system"),
        "names 'os.system' as its model._target_, which no checkpoint may build",
    ),
    "a rate": (
        lambda it: it["model"].update(rate={"_target_": "builtins.eval", "source": "1"}),
        "names 'builtins.eval' as its model.rate._target_",
    ),
    "words of Hydra": (
        lambda it: it["model"].update(_args_=[1]),
        "has model._args_, which only a command line may have",
    ),
    "a huge network": (lambda it: it["model"].update(alpha=10**7), "are not those of the network"),
    "many nodes": (lambda it: it["depth"][0].update(n_basis=10**6), "depth must be at most"),
    "endless steps": (lambda it: it["depth"][0].update(n_time_steps=10**9), "whole number from 1"),
    "more blocks": (lambda it: it["depth"].append(it["depth"][0]), "depths must be 3"),
    "a huge image": (lambda it: it["preprocessing"].update(shape=[3, 10**9, 1]), "shape"),
    "other channels": (lambda it: it["preprocessing"].update(mean=[1.0]), "3 channels"),
    "a deviation of 0": (lambda it: it["preprocessing"].update(std=[0.0] * 3), "other than 0"),
    "no number": (lambda it: it["preprocessing"].update(mean=[float("nan")] * 3), "finite"),
    "classes of control characters": (lambda it: it.update(classes=["\x1b[2J", "b"]), "one line"),
    "another version": (lambda it: it.update(version=2), "version must be a whole number from 1"),
    "an unknown scheme": (lambda it: it["schemes"][0].update(name="x"), "must be one of"),
    "no tolerance": (lambda it: it["schemes"][0].update(rtol=0.1), "fixed"),
    "an option": (lambda it: it["model"].update(colour="red"), "cannot be made; TypeError"),
    "nothing": (lambda it: "{}", "with the key channels_last"),
    "no JSON": (lambda it: "{", "Expecting property name"),
    "deep JSON": (lambda it: "[" * 100_000, "path must be a file of weights"),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_file_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    trained(NETWORKS["post-activation"]).save(file)
    change, message = CRAFTED[kind]
    described(file, change)
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_file_that_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    with pytest.raises(ConfigError, match="there is none at"):
        load(file)
    file.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="path must be a file of weights that contnet saved"):
        load(file)
    trained(NETWORKS["ResNet"]).save(file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="path must be a file of weights that contnet saved"):
        load(file)


def test_code_of_the_users_own_is_imported_only_if_it_is_trusted(tmp_path: Path) -> None:
    for kind in ("own rate", "own network"):
        trained(NETWORKS[kind]).save(tmp_path / "net.safetensors")
        with pytest.raises(ConfigError, match=r"add 'trust=\[tests.serving.made\]'"):
            load(tmp_path / "net.safetensors")


def test_weights_of_another_type_are_refused(tmp_path: Path) -> None:
    net = trained(NETWORKS["post-activation"])
    file = tmp_path / "net.safetensors"
    net.save(file)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    for dtype in (torch.float8_e4m3fn, torch.int32):
        save_file({name: one.to(dtype) for name, one in tensors.items()}, file, metadata)
        with pytest.raises(ConfigError, match="must be bfloat16, float16, float32, float64; they"):
            load(file)


def test_a_trained_network_can_be_saved_by_torch_and_copied(tmp_path: Path) -> None:
    net = trained(NETWORKS["post-activation"])
    torch.save(net, tmp_path / "net.pt")
    saved = torch.load(tmp_path / "net.pt", weights_only=False)
    for same in (saved, copy.deepcopy(net)):
        assert torch.equal(same(images()), net(images()))


def test_a_network_in_training_mode_does_not_predict() -> None:
    net = trained(NETWORKS["post-activation"]).train()
    before = {name: one.clone() for name, one in net.state_dict().items()}
    with pytest.raises(ValueError, match="predict needs the network in evaluation mode"):
        net.predict(images())
    assert all(torch.equal(one, before[name]) for name, one in net.state_dict().items())
    net.eval().predict(images())


@pytest.mark.parametrize("scheme", [3, b"euler", ["euler"], torch.nn.Linear])
def test_what_is_no_scheme_is_refused(scheme: object) -> None:
    net = trained(NETWORKS["post-activation"])
    before = net.manifestation
    with pytest.raises(ValueError, match="scheme must be the name of a scheme, or a scheme, got"):
        net.set_manifestation(scheme)
    assert net.manifestation == before
    with pytest.raises(ValueError, match="scheme must be the name of a scheme, or a scheme, got"):
        ContinuousNet(scheme=scheme)
