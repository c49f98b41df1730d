"""What a study leaves: tables on the screen; tables, pictures and a page in its folder."""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

from contnet.invariance.budget import Budget
from contnet.invariance.convergence import Convergence
from contnet.invariance.report.page import page
from contnet.invariance.report.pictures import pictures
from contnet.invariance.result import Figures, Result
from contnet.invariance.study import Study
from contnet.runs.folder import relative
from contnet.runs.provenance import versions
from contnet.runs.tables import write_csv

PLAIN = re.compile(r"[\w./=,\[\]+-]+")  # needs no quotes in a shell


def report(
    config: DictConfig, studies: Sequence[Study], references: Sequence[Study], budget: Budget | None
) -> None:
    """Write tables, pictures and the page of a study, and show what it found."""
    folder = Path(config.run_dir)
    everything = [*studies, *references]
    write_csv(
        folder / "invariance.csv",
        [result.row() for study in everything for result in study.results],
    )
    found = [_finite(_as_json(study)) for study in everything]
    (folder / "invariance.json").write_text(json.dumps(found, indent=1) + "\n")
    images = {}
    with SummaryWriter(str(folder / "tensorboard")) as tensorboard:
        for name, figure in pictures(studies, references):
            content = BytesIO()
            figure.savefig(content, format="png")
            (folder / f"{name}.png").write_bytes(content.getvalue())
            images[name] = b64encode(content.getvalue()).decode()
            with Image.open(content) as image:
                tensorboard.add_image(
                    f"invariance/{name}", np.asarray(image.convert("RGB")), dataformats="HWC"
                )
    (folder / "report.html").write_text(page(studies, images, config.sweep.tolerance))

    console = Console()
    for study in studies:
        console.print(_invariance_table(study))
        for line in _findings(study, budget, config.dataset.root):
            console.print(line, markup=False, soft_wrap=True, highlight=False)
    if len(everything) > 1:
        console.print(_comparison(everything))
    console.print(
        f"written to {relative(folder)}: report.html, the pictures in it, and their data",
        markup=False,
    )


def _invariance_table(study: Study) -> Table:
    legend = "* as trained; same: share of images that get the same class as there; ms per image, "
    legend += f"{study.trained_figures.batch_size} at a time"
    headings = ["scheme", "steps", "evals", "loss", "accuracy", "same", "ms"]
    if any(result.projected for result in study.results):
        headings = ["theta(t)", "params", "scheme", "steps", "accuracy", "ms"]
        legend = f"* as trained; ms per image, {study.trained_figures.batch_size} at a time"
    recalibrated = {(r.basis, r.manifestation): r.figures for r in study.results if r.recalibrated}
    if recalibrated:
        headings.insert(headings.index("accuracy") + 1, "recal.")
        legend += "; recal.: accuracy with batch norm recalibrated"
    table = Table(title=study.subject.name, caption=legend)
    for heading in headings:
        justify: Any = "left" if heading in ("theta(t)", "scheme") else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for result in study.results:
        if not result.recalibrated:
            cells = _cells(result, recalibrated.get((result.basis, result.manifestation)))
            table.add_row(*(cells.get(heading, "-") for heading in headings))
    return table


def _comparison(studies: Sequence[Study]) -> Table:
    table = Table(
        title="comparison",
        caption="lost: at most, in percentage points, at any finer manifestation",
    )
    table.add_column("checkpoint", overflow="fold")
    table.add_column("trained with")
    for heading in ("parameters", "accuracy", "lost", "invariant"):
        table.add_column(heading, justify="right", no_wrap=True)
    for study in studies:
        verdict = study.verdict
        table.add_row(
            escape(study.subject.name),
            str(study.trained.manifestation),
            f"{study.trained.parameters:,}",
            f"{study.trained_figures.accuracy:.4f}",
            "-" if verdict.loss is None else f"{verdict.loss:.1f}",
            {True: "yes", False: "no", None: "-"}[verdict.invariant],
        )
    return table


def _cells(result: Result, recalibrated: Figures | None) -> dict[str, str]:
    """By heading, what there is to say of a result."""
    manifestation, figures = result.manifestation, result.figures
    cells = {
        "theta(t)": f"{result.basis.name} {result.basis.n_basis}" if result.basis else "-",
        "params": f"{result.parameters:,}",
        "scheme": f"{manifestation.name or '-'}{' *' if result.trained else ''}",
        "steps": str(
            manifestation.n_time_steps or "-"
            if manifestation.rtol is None
            else f"{manifestation.rtol:.0e}"
        ),
    }
    if recalibrated:
        cells["recal."] = f"{recalibrated.accuracy:.4f}"
    if figures is None:
        return {**cells, "accuracy": "failed"}
    return {
        **cells,
        "evals": str(figures.n_f_evals or "-"),
        "loss": f"{figures.loss:.4f}",
        "accuracy": f"{figures.accuracy:.4f}",
        "same": f"{figures.same_prediction:.4f}",
        "ms": f"{figures.latency_ms:.3f}",
    }


def _findings(study: Study, budget: Budget | None, root: str | None) -> Iterator[str]:
    for result in study.results:
        if result.failed is not None:
            yield f"{result} failed: {result.failed}"
    if not study.is_continuous:
        yield "a network without depth-time has nothing to sweep; evaluated as it is"
        return
    yield str(study.verdict)
    if study.recalibrated_verdict is not None:
        yield f"recalibrated: {study.recalibrated_verdict}"
    yield from _slopes(study.convergence)
    if budget is None:
        return
    choice = budget.choose(study.trained, study.results)
    if choice is None:
        yield f"nothing in this sweep meets {budget}"
        return
    chosen, figures = choice
    points = 100 * (figures.accuracy - study.trained_figures.accuracy)
    factors = f"{figures.latency_ms / study.trained_figures.latency_ms:.2f}x latency"
    if chosen.projected:
        factors += f", {chosen.parameters / study.trained.parameters:.2f}x parameters"
    yield f"for {budget} use {chosen} ({points:+.2f} pp, {factors}):"
    yield f"  {_command(chosen, root)}"


def _slopes(convergence: Sequence[Convergence]) -> Iterator[str]:
    """A line for each scheme, with the slopes of all blocks."""
    by_scheme: dict[str, list[Convergence]] = {}
    for found in convergence:
        by_scheme.setdefault(found.scheme, []).append(found)
    for scheme, members in by_scheme.items():
        slopes = ", ".join(
            "none" if found.slope is None else f"{found.slope:.2f}" for found in members
        )
        yield f"convergence of the blocks' states, {scheme}: slopes {slopes} (order {members[0].order})"


def _command(chosen: Result, root: str | None) -> str:
    """The command that evaluates a checkpoint in a manifestation."""
    manifestation = chosen.manifestation
    words = [f"ckpt_path={chosen.checkpoint}", f"sweep.scheme=[{manifestation.name}]"]
    if manifestation.n_time_steps is None:
        words.append(f"sweep.rtol=[{manifestation.rtol:g}]")
    else:
        words.append(f"sweep.n_time_steps=[{manifestation.n_time_steps}]")
    if chosen.projected and chosen.basis:
        words += [
            f"project.basis=[{chosen.basis.name}]",
            f"project.n_basis=[{chosen.basis.n_basis}]",
        ]
    words += ["sweep.recalibrate=true"] * chosen.recalibrated + (
        [] if root is None else [f"dataset.root={root}"]
    )
    return "python evaluate.py " + " ".join(
        word if PLAIN.fullmatch(word) else shlex.quote(word) for word in words
    )


def _as_json(study: Study) -> dict[str, Any]:
    """All that the tables and pictures are made of."""
    return {
        "checkpoint": study.subject.name,
        "classes": list(study.subject.classes),
        "verdict": {"text": str(study.verdict), **asdict(study.verdict)},
        "recalibrated_verdict": study.recalibrated_verdict
        and {"text": str(study.recalibrated_verdict), **asdict(study.recalibrated_verdict)},
        "rows": [
            {**result.row(), "class_accuracy": accuracy.tolist() if result.figures else None}
            for result, accuracy in zip(study.results, study.class_accuracy, strict=True)
        ],
        "convergence": [asdict(found) for found in study.convergence],
        "versions": versions(),
    }


def _finite(value: Any) -> Any:
    """The same with null for what is no finite number, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value
