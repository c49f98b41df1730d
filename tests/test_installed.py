"""A copy that is installed, with no checkout in reach, brings its settings and commands with it."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

import contnet
from tests.processes import ROOT

SOURCES = ("contnet", "conf", "docs", "tests", "benchmarks")
FILES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
DISTRIBUTION = f"contnet-{contnet.__version__}"

COMMANDS = {
    "contnet-train": "contnet.commands.train:main",
    "contnet-evaluate": "contnet.commands.evaluate:main",
    "contnet-predict": "contnet.commands.predict:main",
    "contnet-export": "contnet.commands.export:main",
    "contnet-compare": "contnet.commands.compare:main",
}

WITH_SETTINGS = [command for command in COMMANDS if command != "contnet-compare"]
"""The commands whose settings Hydra composes."""

SCRIPT = """\
import sys
from {module} import {function}
sys.exit({function}())
"""


def built(kind: str, source: Path) -> Path:
    """Build `source` as a "wheel" or an "sdist" without network; return the file."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    return next((source / "dist").iterdir())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout: a build leaves files behind."""
    source = tmp_path_factory.mktemp("source")
    for folder in SOURCES:
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in FILES:
        shutil.copy(ROOT / file, source)
    return source


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked source distribution."""
    unpacked = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built("sdist", checkout)) as archive:
        archive.extractall(unpacked, filter="data")
    return unpacked / DISTRIBUTION


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked wheel that is built from the source distribution."""
    unpacked = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(built("wheel", sdist)) as archive:
        archive.extractall(unpacked)
    return unpacked


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, by their path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def entry_points(wheel: Path) -> dict[str, str]:
    parser = ConfigParser()
    parser.read(wheel / f"{DISTRIBUTION}.dist-info" / "entry_points.txt")
    return dict(parser["console_scripts"])


def python(wheel: Path, folder: Path, *arguments: str, **variables: str) -> str:
    """Run Python in `folder` with the unpacked wheel on its path; return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(wheel), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def script(wheel: Path, folder: Path, command: str) -> str:
    """Write the script of a command as an installer does; return its path."""
    module, _, function = entry_points(wheel)[command].partition(":")
    folder.mkdir()
    path = folder / command
    path.write_text(SCRIPT.format(module=module, function=function))
    return str(path)


def test_the_wheel_holds_the_package_and_every_setting_and_nothing_else(
    checkout: Path, wheel: Path
) -> None:
    assert {path.name for path in wheel.iterdir()} == {"contnet", f"{DISTRIBUTION}.dist-info"}
    settings = contents(checkout / "conf")
    assert {Path(path).suffix for path in settings} == {".yaml"}
    shipped = contents(checkout / "contnet")
    assert "py.typed" in shipped
    shipped |= {f"conf/{path}": content for path, content in settings.items()}
    assert contents(wheel / "contnet") == shipped


def test_the_wheel_has_its_license_and_its_commands(wheel: Path) -> None:
    license_file = wheel / f"{DISTRIBUTION}.dist-info" / "licenses" / "LICENSE"
    assert license_file.read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert entry_points(wheel) == COMMANDS


@pytest.mark.parametrize("folder", SOURCES)
def test_the_source_distribution_has_every_file_of_a_folder(
    checkout: Path, sdist: Path, folder: str
) -> None:
    assert contents(sdist / folder) == contents(checkout / folder)


def test_an_installed_copy_says_what_there_is_without_importing_torch(
    wheel: Path, tmp_path: Path
) -> None:
    code = (
        "import runpy, sys; runpy.run_module('contnet', run_name='__main__');"
        "print('torch' in sys.modules)"
    )
    *printed, imports_torch = python(wheel, tmp_path, "-c", code).splitlines()
    assert imports_torch == "False"
    assert printed[0].startswith(f"contnet {contnet.__version__}: ")
    assert printed[-1] == f"The settings lie in {wheel / 'contnet' / 'conf'}"
    assert all(any(command in line for line in printed) for command in COMMANDS)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=[pytest.mark.long] * (name != "contnet-train"))
        for name in WITH_SETTINGS
    ],
)
def test_a_command_of_an_installed_copy_answers_from_an_empty_folder(
    wheel: Path, tmp_path: Path, command: str
) -> None:
    path, empty = script(wheel, tmp_path / "bin", command), tmp_path / "empty"
    empty.mkdir()
    key = "ckpt_path=some.ckpt"
    assert f"\n{key.replace('=', ': ')}\n" in python(wheel, empty, path, "--cfg", "job", key)
    assert "== Config ==" in python(wheel, empty, path, "--help", key)
    assert f"file://{wheel / 'contnet' / 'conf'} " in python(
        wheel, empty, path, "--info", "searchpath", key
    )
    assert list(empty.iterdir()) == []


def test_the_shell_completes_the_commands_of_an_installed_copy(wheel: Path, tmp_path: Path) -> None:
    path = script(wheel, tmp_path / "bin", "contnet-train")
    rule = python(wheel, tmp_path, path, "-sc", "install=bash")
    assert rule.endswith("-F hydra_bash_completion contnet-train\n")
    line = "contnet-train scheme=heun"
    assert python(wheel, tmp_path, path, "-sc", "query=bash", COMP_LINE=line).split() == [
        "scheme=heun2",
        "scheme=heun3",
        "scheme=heun_euler",
    ]
