"""What a finished command leaves: a table on the screen and files in its folder."""

import json
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from rich.console import Console
from rich.table import Table
from torch import nn

import contnet
from contnet.invariance import Row
from contnet.monitoring import Throughput
from contnet.sweep_summary import write_csv

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "torchdiffeq", "torchmetrics")


def training(
    config: DictConfig, network: nn.Module, trainer: Trainer, throughput: Throughput, metrics: dict[str, Any]
) -> None:
    """Write `result.json`, give the loggers the hyper-parameters, and show the final table."""
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
        "scheme": config.scheme.name,
        "n_time_steps": getattr(network, "n_time_steps", None),
        "seed": config.seed,
        "versions": {"contnet": contnet.__version__, **{package: version(package) for package in PACKAGES}},
        "git_commit": _git_commit(),
    }
    for logger in trainer.loggers:
        logger.log_hyperparams(_flat(OmegaConf.to_container(config, resolve=True)), **_hp_metrics(logger, final))
        logger.finalize("success")
    folder = Path(config.run_dir)
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")

    table = Table("", "", show_header=False)
    table.columns[1].overflow = "fold"
    for name in ("test_accuracy", "test_loss", "val_accuracy"):
        if name in final:
            table.add_row(name, f"{final[name]:.4f}")
    table.add_row("parameters", f"{parameters:,}")
    table.add_row("train_seconds", f"{throughput.train_seconds:.1f}")
    table.add_row("images_per_second", f"{throughput.images_per_second:,.0f}")
    table.add_row("written to", str(_relative(folder)))
    table.add_row("checkpoint", str(_relative(folder / "checkpoints" / "last.ckpt")))
    Console().print(table)


def invariance(config: DictConfig, rows: list[Row]) -> None:
    """Write `invariance.csv` and show its rows, the training manifestation marked."""
    path = Path(config.run_dir) / "invariance.csv"
    write_csv(path, [{"checkpoint": config.ckpt_path, **asdict(row)} for row in rows])
    table = Table(title=str(config.ckpt_path), caption="* as trained")
    for heading in ("scheme", "n_time_steps", "n_f_evals", "loss", "accuracy"):
        table.add_column(heading, justify="left" if heading == "scheme" else "right")
    for row in rows:
        n_time_steps = "adaptive" if row.n_time_steps is None else str(row.n_time_steps)
        scheme = f"{row.scheme} *" if row.trained else row.scheme
        table.add_row(scheme, n_time_steps, str(row.n_f_evals), f"{row.loss:.4f}", f"{row.accuracy:.4f}")
    console = Console()
    console.print(table)
    console.print(f"written to {_relative(path)}", markup=False)


def _hp_metrics(logger: Any, final: dict[str, float]) -> dict[str, Any]:
    """TensorBoard's table of hyper-parameters shows them beside metrics."""
    is_tensorboard = type(logger).__name__ == "TensorBoardLogger"
    return {"metrics": {name: final[name] for name in final if name.startswith("test_")}} if is_tensorboard else {}


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {prefix.removesuffix("."): config}
    return {key: value for name in config for key, value in _flat(config[name], f"{prefix}{name}.").items()}


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
