"""The export of a network: a file for each manifestation, which is compared before it is kept."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contnet.errors import RunError
from contnet.export.formats import Format
from contnet.export.model import Model
from contnet.export.parity import TOLERANCE, Parity, Sample, compare
from contnet.ode.manifestation import Manifestation
from contnet.runs.atomic import write_atomically
from contnet.serving.trained import TrainedNetwork

RECORD = "export.json"


@dataclass(frozen=True)
class Setting:
    """A manifestation to export; None leaves a scheme or a number of steps as trained."""

    scheme: str | None = None
    n_time_steps: int | None = None

    def apply(self, network: TrainedNetwork) -> None:
        """Set the network to it.

        Raises:
            ValueError: see `TrainedNetwork.set_manifestation`.
        """
        if self != Setting():
            network.set_manifestation(self.scheme, self.n_time_steps)


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Args:
        path: the file.
        manifestation: its scheme and number of steps; None where ODE blocks differ in them, and
            without ODE blocks.
        parity: how near it is to contnet.
    """

    path: Path
    manifestation: Manifestation | None
    parity: Parity

    def row(self) -> dict[str, Any]:
        """Return the figures of the file in plain values."""
        made = self.manifestation
        return {
            "file": self.path.name,
            "scheme": None if made is None else made.name,
            "n_time_steps": None if made is None else made.n_time_steps,
            "bytes": self.path.stat().st_size,
            **asdict(self.parity),
        }


@dataclass(frozen=True)
class Exporter:
    """Writes files of one network.

    Args:
        network: the network in float32.
        form: the format of the files.
        precision: their precision.
        sample: the images to compare with contnet on.
        folder: the folder of the files, which exists.
        trust: the user's own modules that a file may use.
    """

    network: TrainedNetwork
    form: Format
    precision: str
    sample: Sample
    folder: Path
    trust: tuple[str, ...] = ()

    def export(self, setting: Setting) -> Exported:
        """Write the file of a setting, which the network accepts.

        Raises:
            ConfigError: if the format cannot hold the network.
            RunError: if the file computes something else than contnet does; it is not kept.
        """
        setting.apply(self.network)
        manifestation = self.network.manifestation
        path = self.folder / self._name(manifestation, setting)
        # The suffix stays: PyTorch and contnet tell a file by it.
        unchecked = path.with_name(f".unchecked.{path.name}")
        try:
            model = Model(self.network, self.precision, self.sample.calibration)
            self.form.write(unchecked, model)
            runtime = self.form.read(unchecked, self.trust)
            parity = compare(runtime, self.network, self.sample)
            if self.precision == "float32" and not parity.is_equal:
                raise RunError(
                    f"{path.name} was not kept: computed by {self.form.runtime}, its logits differ "
                    f"from contnet's by {parity.relative_difference:.2g} of the largest; "
                    f"{TOLERANCE:g} is allowed"
                )
            unchecked.replace(path)
        finally:
            unchecked.unlink(missing_ok=True)
        return Exported(path, manifestation, parity)

    def _name(self, manifestation: Manifestation | None, setting: Setting) -> str:
        parts = [setting.scheme, setting.n_time_steps]
        if manifestation is not None:
            parts = [manifestation.name, manifestation.n_time_steps]
        stem = "_".join(str(part) for part in parts if part is not None) or "network"
        suffix = "" if self.precision == "float32" else f"_{self.precision}"
        return f"{stem}{suffix}{self.form.suffix}"


def write_record(folder: Path, exported: Iterable[Exported], about: dict[str, Any]) -> None:
    """Write the figures of files beside them, with what is known about all of them."""
    content = {**about, "files": [one.row() for one in exported]}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    write_atomically(folder / RECORD, f"{text}\n".encode())
