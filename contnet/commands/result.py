"""What a finished training leaves: a table on the screen, and `result.json`."""

import json
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from rich.console import Console
from rich.table import Table
from torch import nn

from contnet.ode.depth_time import depth_time
from contnet.runs.folder import relative
from contnet.runs.provenance import git_commit, machine, versions
from contnet.runs.resume import flat
from contnet.training.callbacks.throughput import Throughput


def training(
    config: DictConfig,
    network: nn.Module,
    trainer: Trainer,
    throughput: Throughput,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """Write `result.json`, give the loggers the hyper-parameters, and show the final table; returns the result."""
    depth = depth_time(network)
    choices = HydraConfig.get().runtime.choices
    parameters = sum(parameter.numel() for parameter in network.parameters())
    final = {
        name: float(value)
        for name, value in metrics.items()
        if name.startswith(("train_", "val_", "test_"))
    }
    result = {
        **final,
        "parameters": parameters,
        "train_seconds": throughput.train_seconds,
        "images_per_second": throughput.images_per_second,
        "epochs": trainer.current_epoch,
        "dataset": choices["dataset"],
        "model": choices["model"],
        "scheme": depth.scheme.name if depth and depth.scheme else None,
        "basis": depth.basis.name if depth and depth.basis else None,
        "n_basis": depth.n_basis if depth else None,
        "n_time_steps": depth.n_time_steps if depth else None,
        "seed": config.seed,
        "overrides": list(HydraConfig.get().overrides.task),
        "machine": machine(trainer.strategy.root_device),
        "versions": versions(),
        "git_commit": git_commit(),
    }
    if not trainer.is_global_zero:
        return result
    for logger in trainer.loggers:
        logger.log_hyperparams(
            flat(OmegaConf.to_container(config, resolve=True)), **_hp_metrics(logger, final)
        )
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
    return (
        {"metrics": {name: final[name] for name in final if name.startswith("test_")}}
        if is_tensorboard
        else {}
    )
