"""What a finished training leaves: a table on the screen, and `result.json`."""

import json
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from rich.console import Console
from rich.table import Table
from torch import nn

import contnet
from contnet.monitoring import Throughput
from contnet.resume import flat

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "torchdiffeq", "torchmetrics")


def training(
    config: DictConfig, network: nn.Module, trainer: Trainer, throughput: Throughput, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Write `result.json`, give the loggers the hyper-parameters, and show the final table; returns the result."""
    choices = HydraConfig.get().runtime.choices
    parameters = sum(parameter.numel() for parameter in network.parameters())
    final = {name: float(value) for name, value in metrics.items() if name.startswith(("train_", "val_", "test_"))}
    result = {
        **final,
        "parameters": parameters,
        "train_seconds": throughput.train_seconds,
        "images_per_second": throughput.images_per_second,
        "epochs": trainer.current_epoch,
        "dataset": choices["dataset"],
        "model": choices["model"],
        "scheme": getattr(getattr(network, "scheme", None), "name", None),
        "basis": getattr(getattr(network, "basis", None), "name", None),
        "n_basis": getattr(network, "n_basis", None),
        "n_time_steps": getattr(network, "n_time_steps", None),
        "seed": config.seed,
        "overrides": list(HydraConfig.get().overrides.task),
        "machine": machine(trainer.strategy.root_device),
        "versions": versions(),
        "git_commit": _git_commit(),
    }
    if not trainer.is_global_zero:
        return result
    for logger in trainer.loggers:
        logger.log_hyperparams(flat(OmegaConf.to_container(config, resolve=True)), **_hp_metrics(logger, final))
        logger.finalize("success")
    folder = Path(config.run_dir)
    unfinished = folder / ".result.json"
    unfinished.write_text(json.dumps(result, indent=2) + "\n")
    unfinished.replace(folder / "result.json")

    table = Table("", "", show_header=False)
    table.columns[1].overflow = "fold"
    for name in ("test_accuracy", "test_loss", "val_accuracy"):
        if name in final:
            table.add_row(name, f"{final[name]:.4f}")
    table.add_row("parameters", f"{parameters:,}")
    table.add_row("train_seconds", f"{throughput.train_seconds:.1f}")
    table.add_row("images_per_second", f"{throughput.images_per_second:,.0f}")
    table.add_row("written to", str(relative(folder)))
    table.add_row("checkpoint", str(relative(folder / "checkpoints" / "last.ckpt")))
    Console().print(table)
    return result


def _hp_metrics(logger: Any, final: dict[str, float]) -> dict[str, Any]:
    """TensorBoard's table of hyper-parameters shows them beside metrics."""
    is_tensorboard = type(logger).__name__ == "TensorBoardLogger"
    return {"metrics": {name: final[name] for name in final if name.startswith("test_")}} if is_tensorboard else {}


def machine(device: torch.device) -> str:
    """What a figure was measured on: a GPU's name, or the processor's and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")  # where there is none, the platform knows its processor's name
    models = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else []
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} {'thread' if torch.get_num_threads() == 1 else 'threads'}"


def versions() -> dict[str, str]:
    """Those of the packages that a result depends on."""
    return {"contnet": contnet.__version__, **{package: version(package) for package in PACKAGES}}


def _git_commit() -> str | None:
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
