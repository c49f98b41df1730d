"""Where a figure comes from: machine, versions, commit."""

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


def machine(device: torch.device) -> str:
    """What a figure was measured on: a GPU's name, or the processor's and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")  # where there is none, the platform knows its processor's name
    models = (
        re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if cpuinfo.exists()
        else []
    )
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} {'thread' if torch.get_num_threads() == 1 else 'threads'}"


def versions() -> dict[str, str]:
    """Those of the packages that a result depends on."""
    return {"contnet": contnet.__version__, **{package: version(package) for package in PACKAGES}}


def git_commit() -> str | None:
    folder = str(Path(__file__).parent)
    # With "-dirty" behind it where the files are no longer those of the commit, and by no tag's name.
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def relative(path: Path) -> Path:
    """A path as it is typed from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
