"""The origin of a figure: machine, versions and commit."""

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

import contnet

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "torchdiffeq",
    "torchmetrics",
)
"""The packages that a result depends on."""


def machine(device: torch.device) -> str:
    """Return the name of a GPU, or the name of the processor and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    n_threads = torch.get_num_threads()
    return f"{_processor()}, {n_threads} {'thread' if n_threads == 1 else 'threads'}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # Linux, where `platform` reports only the architecture
    if cpuinfo.exists():
        model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if model:
            return model[1]
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of contnet and of the packages that a result depends on."""
    return {"contnet": contnet.__version__, **{package: version(package) for package in PACKAGES}}


def git_commit() -> str | None:
    """Return the commit of the package's files, or None if no git repository tracks them.

    "-dirty" is appended if the files differ from the commit.
    """
    this = Path(__file__)
    # --exclude: otherwise a tag would be printed instead of the commit.
    described = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        # An environment with the package in it may lie in a repository of the user's own.
        _git(this.parent, "ls-files", "--error-unmatch", this.name)
        return _git(this.parent, *described)
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
