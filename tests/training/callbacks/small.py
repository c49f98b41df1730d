"""A small training, with what it shows in TensorBoard."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from contnet.data.normalise import Normalise
from contnet.training.callbacks.tensorboard import TensorBoardRun
from contnet.training.classifier import Classifier

CLASSES = ("cat", "dog", "owl")


def batches() -> list[tuple[Tensor, Tensor]]:
    """Return four batches of five images and their labels, always the same."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 5, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 3, (4, 5), generator=generator)
    return list(zip(images, labels, strict=True))


def loader(first: int = 0) -> Any:
    dataset: Any = batches()[first:]
    return DataLoader(dataset, batch_size=None)


def classifier(network: nn.Module) -> Classifier:
    return Classifier(
        network,
        Normalise((0.5,), (0.2,)),
        CLASSES,
        lambda made: torch.optim.SGD(made.parameters(), lr=0.1),
        lambda optimizer: {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)},
        {},
    )


def fit(
    network: nn.Module, folder: Path, *callbacks: Callback, validates: bool = True, **options: Any
) -> Trainer:
    """Train for two epochs of four batches, and validate on the last two."""
    logger: list[Logger] = options.pop("logger", [TensorBoardRun(save_dir=str(folder))])
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=logger,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(classifier(network), loader(), loader(2) if validates else None)
    return trainer


def shown(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard")).Reload()
