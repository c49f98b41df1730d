"""TensorBoard: the names of figures and runs there, and the table of hyper-parameters.

Figures have one name everywhere else, such as `val_accuracy` in `metrics.csv`, `result.json` and
`callbacks.best.monitor`. TensorBoard groups its charts by the first part of a name, so this module
alone gives them others.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from contnet.runs.folder import OVERRIDES
from contnet.runs.resume import OWN_KEYS

TAGS = {
    "step_loss": "loss/train_step",
    "lr": "optimizer/lr",
    "grad_norm": "optimizer/grad_norm",
    "images_per_second": "speed/images_per_second",
    "train_seconds": "speed/train_seconds",
    "n_f_evals": "speed/n_f_evals",
    "n_accepted": "speed/n_accepted",
    "n_rejected": "speed/n_rejected",
    "parameters": "network/parameters",
    "depth": "network/depth",
}
"""The names in TensorBoard of figures that are not a loss or an accuracy."""

OF_SPLIT = re.compile(r"(train|val|test)_(loss|accuracy)")
OF_MANIFESTATION = re.compile(r"(train|val|test)_accuracy_(.+)")

RESULTS = ("val_accuracy", "test_accuracy", "train_seconds", "parameters")
"""The figures beside the hyper-parameters."""

LONGEST_NAME = 120
"""Characters of the name of a run; a file system allows 255 in the name of a folder."""


def tag(name: str) -> str:
    """Return the name of a figure in TensorBoard; a figure of the user's own keeps its name."""
    if found := OF_SPLIT.fullmatch(name):
        return f"{found[2]}/{found[1]}"
    if found := OF_MANIFESTATION.fullmatch(name):
        return f"manifestations/{found[1]}_{found[2]}"
    return TAGS.get(name, name)


class TensorBoardRun(TensorBoardLogger):
    """A run of TensorBoard, in the folder `save_dir/name/version`.

    TensorBoard names a run by its folder. So `version` says in what the run differs from others: it
    is made of the overrides that the run was started with. A run that is resumed in its own folder
    keeps its version, whatever its overrides are now.

    Args:
        save_dir: the folder of the run.
        ckpt_path: the checkpoint that the run is resumed from, if any.
        version: another name for the run.
        options: more arguments of Lightning's TensorBoardLogger.
    """

    def __init__(
        self,
        *,
        save_dir: str,
        name: str = "tensorboard",
        ckpt_path: str | None = None,
        version: str | None = None,
        **options: Any,
    ) -> None:
        if version is None:
            version = run_name(Path(save_dir), name, ckpt_path)
        super().__init__(save_dir, name=name, version=version, default_hp_metric=False, **options)
        self._end_of_session: Any = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures under their names in TensorBoard."""
        super().log_metrics({tag(name): value for name, value in metrics.items()}, step)

    @rank_zero_only
    def begin_session(self, columns: Mapping[str, Any]) -> None:
        """Add the run to the table of hyper-parameters, with a column for each of `columns`."""
        from torch.utils.tensorboard.summary import hparams  # late: it takes a tenth of a second

        results = dict.fromkeys(map(tag, RESULTS), 0.0)
        *start, self._end_of_session = hparams(dict(columns), results)
        for summary in start:
            self._add(summary)

    def _add(self, summary: Any) -> None:
        writer = self.experiment.file_writer
        if writer is not None:  # not closed
            writer.add_summary(summary)

    @rank_zero_only
    def save(self) -> None:
        """Write out what has been logged; the record of the run holds the configuration."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the files; after a success, the table of hyper-parameters says so."""
        if status == "success" and self._end_of_session is not None:
            self._add(self._end_of_session)
            self._end_of_session = None
        super().finalize(status)


def run_name(folder: Path, name: str, ckpt_path: str | None) -> str:
    """Return the name of the folder of events: the overrides in the record of a run.

    Args:
        folder: the folder of the run.
        name: the folder of TensorBoard in it.
        ckpt_path: the checkpoint that the run is resumed from; None for a new run.
    """
    events = folder / name
    if ckpt_path is not None and Path(ckpt_path).resolve().is_relative_to(folder.resolve()):
        for earlier in sorted([events, *events.glob("*/")]):
            if not earlier.is_symlink() and any(earlier.glob("events.*")):
                return "" if earlier == events else earlier.name
    try:
        overrides = yaml.safe_load((folder / OVERRIDES).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # a notebook has no record
        return ""
    telling = [override for override in map(str, overrides or ()) if _tells(override)]
    plain = re.sub(r"[^\w.,=+~@\-]", "_", ",".join(telling), flags=re.ASCII)
    plain = plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 3]}..."
    # In a folder that somebody else has made, a link may lead anywhere.
    return "" if (events / plain).is_symlink() else plain


def _tells(override: str) -> bool:
    """Return True for an override that says what was trained, and not where or how it is seen."""
    key = override.partition("=")[0].lstrip("+~")
    return key not in OWN_KEYS and key.partition(".")[0] != "logger"


def tensorboard_of(trainer: Trainer) -> TensorBoardRun | None:
    """Return the logger that writes for TensorBoard, None in processes that do not write."""
    if not trainer.is_global_zero:
        return None
    found = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardRun)]
    return found[0] if found else None


class HyperParameterTable(Callback):
    """Adds a run to TensorBoard's table of hyper-parameters when the training starts."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns = dict(columns)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logger = tensorboard_of(trainer)
        if logger is not None:
            logger.begin_session(self.columns)
