"""What contnet-export shows and records: a warning of long graphs, and a table of its files."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from contnet.export.exporting import Exported, Setting
from contnet.export.formats import Format
from contnet.export.graph import n_f_evals
from contnet.export.parity import BATCH, TOLERANCE, Sample
from contnet.runs.folder import relative
from contnet.runs.provenance import machine, versions
from contnet.serving.trained import TrainedNetwork

log = logging.getLogger(__name__)

MOST_F_EVALS = 2000
"""Rate evaluations of a graph that is not too long to be traced and loaded in seconds."""

HEADINGS = ("file", "size", "differs", "same", "accuracy", "ms, 1", f"ms, {BATCH}")


def warn_of_long_graphs(network: TrainedNetwork, form: Format, settings: Sequence[Setting]) -> None:
    """Log a warning of each setting whose steps, one after the other, make a large graph."""
    if not form.unrolls:
        return
    for setting in settings:
        setting.apply(network)
        if n_f_evals(network) > MOST_F_EVALS:
            log.warning(
                f"{network.manifestation} is written step by step, with {n_f_evals(network):,} "
                "rate evaluations of several operators each; that takes minutes to write and load"
            )


def about(config: DictConfig, path: str, network: TrainedNetwork, sample: Sample) -> dict[str, Any]:
    """Return what is known about all files of an export."""
    return {
        "checkpoint": path,
        "format": config.format,
        "precision": config.precision,
        "recalibrated": config.recalibrate,
        "classes": list(network.classes),
        "image_shape": list(network.preprocessing.shape),
        "images": sample.source,
        "tolerance": TOLERANCE if config.precision == "float32" else None,
        "machine": machine(torch.device("cpu")),
        "versions": versions(),
    }


def show(
    exported: Sequence[Exported], config: DictConfig, form: Format, sample: Sample, start: Path
) -> None:
    """Show a table of files, and where they are."""
    table = Table(
        title=f"computed by {form.runtime}, {config.precision}",
        caption=f"{sample.source}; differs: of a logit from contnet's in float32; same: share "
        f"of equal classes; ms: milliseconds an image, alone and in a batch of {BATCH}",
    )
    for heading in HEADINGS:
        left = heading == "file"
        table.add_column(
            heading,
            justify="left" if left else "right",
            no_wrap=not left,
            overflow="fold" if left else "ellipsis",
        )
    for one in exported:
        table.add_row(*_cells(one, config.precision))
    console = Console(markup=False, emoji=False)  # names of folders are no markup
    console.print(table)
    folder = relative(exported[0].path.parent, start)
    names = ", ".join([*(one.path.name for one in exported), "export.json"])
    console.print(f"written to {folder}: {names}", markup=False, soft_wrap=True, highlight=False)


def _cells(one: Exported, precision: str) -> tuple[str, ...]:
    parity = one.parity
    return (
        one.path.stem.removesuffix(f"_{precision}"),  # the title says it
        _size(one.path.stat().st_size),
        f"{parity.difference:.1e}" if parity.difference else "0",
        f"{100 * parity.equal_classes:.1f} %",
        "-" if parity.accuracy is None else f"{100 * parity.accuracy:.2f} %",
        _milliseconds(parity.ms_single),
        _milliseconds(parity.ms_batch),
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.0f} kB"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
