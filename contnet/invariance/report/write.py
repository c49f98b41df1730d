"""The report of a study: its files, and the tables and findings on the screen."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from contnet.invariance.budget import Budget
from contnet.invariance.report.columns import newest_run
from contnet.invariance.report.findings import findings
from contnet.invariance.report.page import page
from contnet.invariance.report.pictures import pictures
from contnet.invariance.report.tables import comparison_table, results_table
from contnet.invariance.study import Study
from contnet.invariance.verdict import Verdict
from contnet.look import saved
from contnet.runs.folder import relative
from contnet.runs.provenance import versions
from contnet.runs.tables import write_csv


def report(
    studies: Sequence[Study],
    references: Sequence[Study],
    *,
    folder: Path,
    budget: Budget | None = None,
    root: str | None = None,
) -> None:
    """Write the findings of studies to a folder, and show them on the screen.

    Args:
        studies: the studies to report.
        references: studies of networks to compare with, evaluated as they were trained.
        folder: the folder to write to, which exists.
        budget: limits within which to choose a variant, if any.
        root: folder of the dataset, if it has one, for the command that evaluates that variant.

    Raises:
        OSError: if a file cannot be written.
    """
    _write_data(folder, studies, references)
    images = _write_pictures(folder, studies, references)
    (folder / "report.html").write_text(page(studies, references, images))
    newest = newest_run([*studies, *references])
    console = Console()
    for study in studies:
        console.print(results_table(study, newest))
        for line in findings(study, budget, root):
            console.print(line, markup=False, soft_wrap=True, highlight=False)
    if len(studies) + len(references) > 1:
        console.print(comparison_table([*studies, *references], newest))
    written = "report.html, the pictures in it, and their data"
    console.print(f"written to {relative(folder)}: {written}", markup=False)


def _write_data(folder: Path, studies: Sequence[Study], references: Sequence[Study]) -> None:
    rows = [result.row() for study in (*studies, *references) for result in study.results]
    write_csv(folder / "invariance.csv", rows)
    found = [
        *(_finite(_as_json(study, reference=False)) for study in studies),
        *(_finite(_as_json(study, reference=True)) for study in references),
    ]
    (folder / "invariance.json").write_text(json.dumps(found, indent=1) + "\n")


def _write_pictures(
    folder: Path, studies: Sequence[Study], references: Sequence[Study]
) -> dict[str, str]:
    """Write the pictures as PNG and SVG files and for TensorBoard; return the SVG in base64."""
    images = {}
    with SummaryWriter(str(folder / "tensorboard")) as tensorboard:
        for name, figure in pictures(studies, references):
            files = {kind: saved(figure, kind) for kind in ("png", "svg")}
            for kind, content in files.items():
                (folder / f"{name}.{kind}").write_bytes(content)
            images[name] = b64encode(files["svg"]).decode()
            with Image.open(BytesIO(files["png"])) as image:
                pixels = np.asarray(image.convert("RGB"))
            tensorboard.add_image(f"invariance/{name}", pixels, dataformats="HWC")
    return images


def _as_json(study: Study, *, reference: bool) -> dict[str, Any]:
    """Return the data of the tables and pictures."""
    return {
        "checkpoint": study.subject.name,
        "run": study.subject.title,
        "reference": reference,
        "classes": list(study.subject.classes),
        "machine": study.subject.machine,
        "test_images": study.n_images,
        "test_digest": study.subject.test_digest,
        "verdict": _verdict(study.verdict),
        "unseen_verdict": _verdict(study.unseen_verdict),
        "recalibrated_verdict": _verdict(study.recalibrated_verdict),
        "recalibrated_unseen_verdict": _verdict(study.recalibrated_unseen_verdict),
        "rows": [
            {**result.row(), "class_accuracy": accuracy.tolist() if result.figures else None}
            for result, accuracy in zip(study.results, study.class_accuracy, strict=True)
        ],
        "convergence": [asdict(found) for found in study.convergence],
        "versions": versions(),
    }


def _verdict(verdict: Verdict | None) -> dict[str, Any] | None:
    return None if verdict is None else {"text": str(verdict), **asdict(verdict)}


def _finite(value: Any) -> Any:
    """Return a value with None in place of NaN and infinity, which JSON cannot represent."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value
