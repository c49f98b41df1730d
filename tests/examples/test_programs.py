"""The programs in examples/ do what they say."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import SCHEMES
from tests.examples.example import FOLDER, main_of, names_of
from tests.invariance.test_dial import ROWS
from tests.serving.made import NETWORKS, images, trained

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the examples are in the repository alone"
)

Printed = Callable[..., str]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Printed:
    """Return `printed("name.py", *arguments)`: what the example prints."""

    def call(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        main_of(name)
        return capfd.readouterr().out

    return call


def test_the_plain_loop_trains_refines_and_evaluates_nine_manifestations(printed: Printed) -> None:
    out = printed("plain_pytorch.py", "--epochs", "1")
    assert "refined to 4 nodes a block" in out
    loss = float(re.search(r"epoch  1  loss (\S+)", out)[1])
    assert loss < 2.3  # ln 10 is that of a guess
    table = [line.split() for line in out[out.index("\nscheme") :].splitlines()[2:]]
    costs = {"euler": 1, "midpoint": 2, "rk4_classic": 4}
    assert [(scheme, int(n), int(cost)) for scheme, n, cost, _ in table] == [
        (scheme, n, 2 * n * stages) for scheme, stages in costs.items() for n in (2, 4, 8)
    ]


def test_the_plain_loop_carries_the_momentum_through_a_refinement() -> None:
    example = names_of("plain_pytorch.py")
    network = example["make_network"]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    network(torch.randn(4, 1, 8, 8)).square().sum().backward()
    optimizer.step()
    (block, _) = example["ode_blocks"](network)
    momenta = [optimizer.state[p]["momentum_buffer"].clone() for p in block.nodes[1].parameters()]
    example["refine"](network, optimizer)
    assert optimizer.param_groups[0]["params"] == list(network.parameters())
    assert (block.n_basis, block.n_time_steps) == (4, 4)
    for node in block.nodes[2:]:  # both halves of the second node
        carried = [optimizer.state[p]["momentum_buffer"] for p in node.parameters()]
        assert all(map(torch.equal, carried, momenta))
    first, second = (next(node.parameters()) for node in block.nodes[2:])
    buffers = [optimizer.state[p]["momentum_buffer"].data_ptr() for p in (first, second)]
    assert buffers[0] != buffers[1]


def test_the_transformer_trains_and_evaluates_nine_manifestations(printed: Printed) -> None:
    out = printed("transformer.py", "--epochs", "1")
    table = [line.split() for line in out[out.index("\nscheme") :].splitlines()[2:]]
    assert [line[:3] for line in table[::4]] == [
        ["euler", "2", "2"],
        ["midpoint", "4", "8"],
        ["rk4_classic", "8", "32"],
    ]


def test_the_rate_of_the_transformer_is_what_an_encoder_layer_adds() -> None:
    rate = names_of("transformer.py")["EncoderRate"](8, 2)
    layer = torch.nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0, activation="gelu", batch_first=True, norm_first=True
    )
    renamed = {"attention": "self_attn", "mlp.0": "linear1", "mlp.2": "linear2"}
    state = {
        re.sub("|".join(map(re.escape, renamed)), lambda found: renamed[found[0]], name): value
        for name, value in rate.state_dict().items()
    }
    layer.load_state_dict(state)
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(x + rate(x), layer(x))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "invariance.json"
    path.write_text(json.dumps([{"rows": ROWS, "reference": False}]))
    return path


def test_the_dial_goes_from_accurate_to_cheap_within_the_budget(study: Path) -> None:
    make_dial = names_of("serving.py")["make_dial"]
    named = [str(one) for one in make_dial(study, None)]
    assert named == ["rk4, 2 steps", "midpoint, 1 step", "euler, 1 step"]
    assert [str(one) for one in make_dial(study, 1.2)] == ["euler, 1 step"]
    with pytest.raises(ValueError, match=r"euler, 1 step takes 1 ms"):
        make_dial(study, 0.5)


def test_the_longer_the_queue_the_cheaper_the_manifestation() -> None:
    example = names_of("serving.py")
    network = trained(NETWORKS["midpoint"])
    fine, cheap = Manifestation(SCHEMES["rk4"], 2), Manifestation(SCHEMES["euler"], 2)
    network.set_manifestation(cheap.scheme, cheap.n_time_steps)
    pixels = images(7)
    labels = network.predict(pixels).labels
    requests = [(pixels[i : i + 1], labels[i : i + 1]) for i in range(7)]
    answers = example["serve"](network, [fine, cheap], requests, [0.0] * 7)
    assert [one.manifestation for one in answers] == [cheap] * 4 + [fine] * 3
    assert all(one.correct for one in answers[:4])
    assert [one.seconds for one in answers] == sorted(one.seconds for one in answers)
    assert "rk4, 2 steps                  3" in example["table"](answers, [fine, cheap])


def test_a_network_without_its_study_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study: Path
) -> None:
    for arguments, message in (
        (["network"], "error: a network needs its study: contnet-evaluate writes invariance.json"),
        (["none.ckpt", str(study)], "error: path must be a checkpoint file; there is none at"),
    ):
        monkeypatch.setattr(sys, "argv", ["serving.py", *arguments])
        with pytest.raises(SystemExit, match="2"):
            main_of("serving.py")
        assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.long
def test_a_network_is_trained_studied_and_served(
    printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = printed("serving.py", "--epochs", "1", "--requests", "30")
    alone, dial = out[out.index("The most accurate alone") :].split("\n\n")
    assert dial.startswith("The dial")
    for table in (alone, dial):
        assert table.splitlines()[-1].split()[:2] == ["all", "30"]


def test_the_readme_lists_every_example() -> None:
    listed = re.findall(r"^\| \[`([\w/.]+)`\]", (FOLDER / "README.md").read_text(), re.MULTILINE)
    files = {path.name for path in FOLDER.glob("*.py")} | {"digits.ipynb"}
    folders = {f"{path.parent.name}/" for path in FOLDER.glob("*/README.md")}
    assert files | folders <= set(listed)
