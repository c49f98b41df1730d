"""Runs the parts within a budget of time, each in a process of its own."""

import multiprocessing
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import record
from benchmarks.gpu.parts import Part
from benchmarks.gpu.settings import Settings


def run_all(
    parts: Sequence[Part], settings: Settings, output: Path, minutes: float, *, again: bool
) -> dict[str, dict[str, Any]]:
    """Run the parts that fit into the time, and return the record of each part by name.

    A part whose record has the present origin is not repeated, unless `again`. A part that was not
    run, or did not come to its end, has a record with `skipped` or `error` in place of `lines`.

    Args:
        parts: the parts, in order.
        settings: the settings of all parts.
        output: the folder of the records.
        minutes: the time for all parts together. A part that takes longer is ended.
        again: repeat every part.
    """
    made_of = record.origin(settings)
    end = time.monotonic() + 60 * minutes
    records = {}
    for part in parts:
        path = output / f"{part.name}.json"
        earlier = None if again else record.read(path, made_of)
        left = end - time.monotonic()
        if earlier is not None:
            records[part.name] = earlier
        elif part.needs_cuda and not settings.on_cuda:
            records[part.name] = {"skipped": "needs CUDA"}
        elif left < 60 * part.needs_minutes(settings) or left <= 0:
            needed = part.needs_minutes(settings)
            why = f"not run: needs {needed:g} minutes, and {max(left, 0) / 60:.1f} are left"
            records[part.name] = {"skipped": why}
        else:
            print(f"{part.name} ...", flush=True)
            records[part.name] = in_own_process(part, settings, path, made_of, left)
    return records


def in_own_process(
    part: Part, settings: Settings, path: Path, made_of: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Run a part in a new process for so many seconds at most, and return its record.

    After an error of CUDA a process can do nothing more on the device.
    """
    path.unlink(missing_ok=True)
    # A forked process cannot use CUDA if this one has, but has imported what this one has.
    if not settings.on_cuda:
        part.load()
    context: Any = multiprocessing.get_context("spawn" if settings.on_cuda else "fork")
    threads = torch.get_num_threads()
    process = context.Process(target=_run, args=(part, settings, path, made_of, threads))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return {"error": f"ended after {seconds:.0f} s, when the time was over"}
    failed = {"error": f"its process ended with exit code {process.exitcode}"}
    found = record.read(path, made_of)
    if found is None and path.exists():
        failed = record.read_failure(path)
    return failed if found is None else found


def _run(part: Part, settings: Settings, path: Path, made_of: dict[str, Any], threads: int) -> None:
    torch.set_num_threads(threads)
    start = time.perf_counter()
    try:
        outcome = part.run(settings)
    except Exception as error:
        traceback.print_exc()
        last = str(error).strip().splitlines() or [""]
        record.write(path, {"error": f"{type(error).__name__}: {last[0]}", "origin": made_of})
        return
    record.write(path, record.of_outcome(outcome, made_of, time.perf_counter() - start))
