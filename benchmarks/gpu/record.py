"""The results of parts in files, and what they are results of."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.outcome import Outcome
from benchmarks.gpu.settings import Settings
from benchmarks.measure import machine
from contnet.runs import provenance
from contnet.runs.atomic import write_atomically

ROOT = Path(__file__).parents[2]

SOURCES = ("contnet", "conf", "benchmarks")
"""Folders whose files decide the results."""


def origin(settings: Settings) -> dict[str, Any]:
    """Return the machine, the versions and the sources that results are of, and the settings.

    The sources are told by the digest of their contents as well: a copy of a checkout may have no
    commit, and changes may not be committed.
    """
    return {
        "machine": machine(settings.device),
        "versions": provenance.versions(),
        "commit": provenance.git_commit(),
        "sources": digest(ROOT),
        "quick": settings.quick,
        "images": None if settings.images is None else str(settings.images.resolve()),
    }


def digest(root: Path) -> str:
    """Return the digest of the programs and the configuration below a folder."""
    combined = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".py", ".yaml"):
                combined.update(f"{file.relative_to(root)}\n".encode())
                combined.update(hashlib.sha256(file.read_bytes()).digest())
    return combined.hexdigest()


def of_outcome(outcome: Outcome, made_of: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the record of a part that has run to its end."""
    lines = [asdict(line) for line in outcome.lines]
    return {"lines": lines, "figures": outcome.figures, "seconds": seconds, "origin": made_of}


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(record, indent=2) + "\n").encode())


def read(path: Path, made_of: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of a part, or None if there is none of this origin that ran to its end."""
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    same = record.get("origin") == json.loads(json.dumps(made_of))
    return record if same and "lines" in record else None


def read_failure(path: Path) -> dict[str, Any]:
    """Return the record of a part that has failed."""
    failure: dict[str, Any] = json.loads(path.read_text())
    return failure
