"""A ~ stands for the home folder, where the grammar of overrides gives it no other meaning."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from contnet.commands.grammar import with_home
from tests.conftest import Run


def values(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


@pytest.mark.parametrize("home", ["/home/ann", "/home/ann b", "/home/a,n[n]", "/home/it's"])
def test_a_tilde_becomes_the_home_folder_wherever_a_path_begins(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    for key in ("dataset.root", "ckpt_path", "hydra.run.dir", "+dataset.root", "++dataset.root"):
        (override,) = with_home([f"{key}=~/x y"])
        assert override.startswith(f"{key}=")
        assert values(override) == f"{home}/x y"
    (alone,) = with_home(["dataset.root=~"])
    assert values(alone) == home
    (listed,) = with_home(["ckpt_path=[~/a, b,~/c]"])
    assert values(listed) == [f"{home}/a", "b", f"{home}/c"]
    (swept,) = with_home(["dataset.root=~/a,'b',~/c"])
    elements = [getattr(one, "text", one) for one in values(swept).list]
    assert elements == [f"{home}/a", "b", f"{home}/c"]


def test_other_tildes_and_quotes_stay_hydras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    typed = [
        "~logger",
        "~logger=tensorboard",
        "dataset.root='~/x'",
        'dataset.root="a,~/x"',
        r"dataset.root='it\'s,~/x'",
        "dataset.root=a~/b",
        "dataset.root=a/~/b",
        "dataset.root=~x",
        "dataset.root=${oc.env:HOME}/x",
        "-m",
        "--config-dir",
    ]
    assert with_home(typed) == typed


def test_a_run_reads_and_writes_below_the_home_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "home" / "pets" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "0.png")
    options = (
        "dataset=image_folder",
        "dataset.root=~/pets",
        "dataset.image_size=8",
        "dataset.val_size=0",
        "model.alpha=2",
    )
    assert run("train", *options, "epochs=1", "hydra.run.dir=~/run")[0] == 0
    checkpoint = "checkpoints/last.ckpt"
    assert (tmp_path / "home" / "run" / checkpoint).exists()
    code, out, _ = run("train", "ckpt_path=last", "hydra.run.dir=~/run", "epochs=2")
    assert code == 0
    assert "home/pets: 2 classes; images: 2 in train, 2 in test" in out
    assert run("evaluate", f"ckpt_path=~/run/{checkpoint}", "sweep.convergence=false")[0] == 0
    assert not (tmp_path / "~").exists()
