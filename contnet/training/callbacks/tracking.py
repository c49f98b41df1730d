"""Loggers of services that keep the runs of many folders: Weights & Biases, and MLflow."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import MLFlowLogger, WandbLogger

from contnet.errors import ConfigError
from contnet.training.callbacks.tensorboard import TensorBoardRun

LOCAL = "sqlite:///"
"""How the address of a database in a file begins."""


class WandbRun(WandbLogger):
    """A run of Weights & Biases.

    Args:
        project: the project that the run belongs to.
        name: the name of the run.
        save_dir: the folder for its files.
        offline: keep the run in that folder, and send nothing.
        options: more arguments of Lightning's WandbLogger and of `wandb.init`.

    Raises:
        ConfigError: when the run starts, if the service does not accept it.
    """

    def __init__(
        self, *, project: str, name: str | None, save_dir: str, offline: bool, **options: Any
    ) -> None:
        # A report of an error goes to the service even if the run stays here.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if offline:
            # Lightning's `offline` sets an environment variable, and so would hold for later jobs.
            options["mode"] = "offline"
        super().__init__(project=project, name=name, save_dir=save_dir, **options)

    @property
    def experiment(self) -> Any:
        """The run; it starts when it is first asked for."""
        from wandb.errors import Error

        with _refused("wandb", Error, "; logger.wandb.offline=true keeps the run in its folder"):
            return super().experiment


class MLflowRun(MLFlowLogger):
    """A run of MLflow.

    Args:
        experiment_name: the experiment that the run belongs to; it is created if there is none.
        run_name: the name of the run.
        tracking_uri: address of the server or the database. None stands for the environment
            variable MLFLOW_TRACKING_URI, or for the file outputs/mlflow/mlflow.db.
        options: more arguments of Lightning's MLFlowLogger.

    Raises:
        ConfigError: if the server or the database cannot be used.
    """

    def __init__(
        self,
        *,
        experiment_name: str,
        run_name: str | None,
        tracking_uri: str | None,
        **options: Any,
    ) -> None:
        # MLflow tells its makers which functions are used, unless this is set before its import.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = address(tracking_uri)
        is_local = uri.startswith(LOCAL)
        if is_local:
            folder = Path(uri.removeprefix(LOCAL)).absolute().parent
            folder.mkdir(parents=True, exist_ok=True)
            options.setdefault("artifact_location", (folder / "artifacts").as_uri())
        from mlflow.exceptions import MlflowException

        self._refusal = MlflowException
        self._lock = Path(uri.removeprefix(LOCAL)).with_suffix(".lock") if is_local else None
        with self._alone():
            super().__init__(
                experiment_name=experiment_name, run_name=run_name, tracking_uri=uri, **options
            )

    @property
    def experiment(self) -> Any:
        """The client of the server; the run starts when it is first asked for."""
        with self._alone():
            return super().experiment

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep out other jobs, which would make the tables and the experiment a second time."""
        with _refused("mlflow", self._refusal), ExitStack() as stack:
            if self._lock is not None:
                flock(stack.enter_context(self._lock.open("w")), LOCK_EX)
            yield


def address(tracking_uri: str | None) -> str:
    """Return where MLflow keeps its runs: see `MLflowRun`."""
    return (
        tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{LOCAL}outputs/mlflow/mlflow.db"
    )


@contextmanager
def _refused(name: str, kind: type[Exception], advice: str = "") -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise ConfigError(f"logger={name}: {' '.join(str(error).split())}{advice}") from error


class HyperParameters(Callback):
    """Passes the hyper-parameters of a run to its loggers when the training starts.

    TensorBoard shows a choice of them: see `tensorboard.HyperParameterTable`.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardRun):
                logger.log_hyperparams(self.values)
