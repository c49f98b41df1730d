"""The page and the tables of a study: what they open with, say once, mark and keep to."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib import get_data_path
from PIL import ImageFont
from rich.console import Console

from contnet import SCHEMES, cheapest
from contnet.invariance.report.columns import newest_run
from contnet.invariance.report.page import page
from contnet.invariance.report.tables import results_table
from contnet.invariance.report.write import report
from contnet.invariance.result import Result
from contnet.invariance.study import Study
from contnet.ode.bases import make_basis
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import ADAPTIVE_SCHEMES
from tests.invariance.results import result, study_of

RIGHT = torch.zeros(20, dtype=torch.long)


def row(scheme: str, steps: int, accuracy: float, ms: float, run: str = "b", **more: Any) -> Result:
    made = result(scheme, steps, RIGHT, accuracy=accuracy, latency_ms=ms, batch_size=256)
    assert made.figures is not None
    return replace(made, figures=replace(made.figures, measured=run), **more)


def euler(name: str, *latencies: float, run: str = "b") -> Study:
    rows = [row("euler", n, 0.6 + 0.01 * n, ms, run) for n, ms in enumerate(latencies, 1)]
    return study_of(name, rows)


def headings(table: str) -> list[str]:
    return [unescape(text) for text in re.findall("<th>(.*?)</th>", table)]


def tables(html: str) -> list[str]:
    return re.findall("<table>.*?</table>", html)


def test_the_page_opens_with_verdicts_and_one_table_that_compares_networks() -> None:
    studies = [euler("first", 0.1, 0.2), euler("second", 0.1, 0.3)]
    third = study_of("third", [row("euler", 4, 0.6, 0.5)])
    html = page(studies, [third], {"latency": "AAAA"})
    opening = html[html.index("<h1>") : html.index("<img")]
    assert re.findall("<p class=.verdict no.>(.*?):", opening) == ["first", "second"]
    assert opening.rindex("verdict no") < opening.index("<table>")
    (table,) = tables(opening)
    assert headings(table)[:4] == ["run", "trained with", "accuracy %", "ms per image"]
    assert re.findall("<tr><td>(.*?)</td>", table) == ["first", "second", "third"]


def test_a_single_network_is_compared_with_itself_in_other_manifestations() -> None:
    html = page([euler("only", 0.1, 0.2)], [], {"latency": "AAAA"})
    opening = html[: html.index("<img")]
    assert opening.index("verdict no") < opening.index("<table>")
    assert headings(tables(opening)[0])[:3] == ["scheme", "steps or rtol", "accuracy %"]
    assert len(tables(html)) == 1


def test_what_is_equal_in_all_rows_is_said_once_and_milliseconds_come_before_other_figures() -> (
    None
):
    html = page([euler("only", 0.1, 0.2)], [], {})
    (table,) = tables(html)
    assert "In all rows: batch norm as trained; parameters 1;" in html
    assert headings(table)[:4] == ["scheme", "steps or rtol", "accuracy %", "ms per image"]
    assert not {"batch norm", "basis", "parameters", "GPU memory, MB"} & set(headings(table))


@pytest.mark.parametrize(("runs", "is_marked"), [("bb", False), ("ab", True), ("aa", False)])
def test_latencies_of_an_earlier_run_are_marked(runs: str, is_marked: bool) -> None:
    rows = [row("euler", n, 0.6, 0.2 * n, run) for n, run in enumerate(runs, 1)]
    found = study_of("only", rows)
    console = Console(width=80, record=True, file=StringIO())
    console.print(results_table(found, newest_run([found])))
    for text, mark in (
        (page([found], [], {}), "<td>0.200~</td>"),
        (console.export_text(), " 0.200~ "),
    ):
        told = "measured in an earlier run" in " ".join(text.split())
        assert (mark in text, told) == (is_marked, is_marked)
        assert "0.400~" not in text


def test_a_study_states_its_machine_and_images_and_cheapest_reads_files_without_them(
    tmp_path: Path,
) -> None:
    found = euler("only", 0.1, 0.2)
    about = replace(found.subject, machine="a CPU, 1 thread", test_digest="abc")
    report([replace(found, subject=about)], [], folder=tmp_path)
    check_pictures(tmp_path)
    path = tmp_path / "invariance.json"
    (written,) = json.loads(path.read_text())
    stated = {"run": "only", "machine": "a CPU, 1 thread", "test_images": 20, "test_digest": "abc"}
    assert {key: written[key] for key in stated} == stated
    assert written["rows"][0]["measured"] == "b"
    best = Manifestation(SCHEMES["euler"], 2)
    assert cheapest(path, accuracy_loss=0) == best
    for key in stated:
        del written[key]
    for one in written["rows"]:
        del one["measured"]
    path.write_text(json.dumps([written]))
    assert cheapest(path, accuracy_loss=0) == best


def check_pictures(folder: Path) -> None:
    """Check that each picture is there as PNG and SVG, and that the page holds the SVG."""
    names = {path.stem for path in folder.glob("*.png")}
    assert names == {path.stem for path in folder.glob("*.svg")} >= {"latency", "accuracy"}
    html = (folder / "report.html").read_text()
    assert html.count("data:image/svg+xml;base64,") == html.count("<img ") == len(names)


def width(table: str) -> float:
    """Return the width of a table in pixels, in a font that is wider than most."""
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 12.5)
    rows = [re.findall("<td>(.*?)</td>", line) for line in re.findall("<tr.*?</tr>", table)]
    cells = zip(*[line for line in rows if line], strict=True)
    # A heading is broken between words, a cell is not.
    columns: list[Sequence[str]] = [
        [*heading.split(), *column] for heading, column in zip(headings(table), cells, strict=True)
    ]
    return sum(max(map(font.getlength, column)) + 0.6 * 16 for column in columns)


def test_the_widest_table_is_not_cut_on_a_screen_of_1280_pixels() -> None:
    rows = [
        row(
            "euler", 2, 0.61234, 12.3456, "ab"[recalibrated], basis=basis, recalibrated=recalibrated
        )
        for basis in (make_basis("piecewise_constant", 16), make_basis("legendre", 4))
        for recalibrated in (False, True)
    ]
    varied = []
    for i, one in enumerate(rows):
        assert one.figures is not None
        told = dict.fromkeys(("loss", "logit_distance", "peak_memory_mb"), 12.34567 * (i + 1))
        told |= dict.fromkeys(("top5_accuracy", "calibration_error"), 0.1234567 * (i + 1))
        counts = {"n_f_evals": 1000 + i, "n_accepted": 300 + i, "n_rejected": 20 + i}
        figures = replace(one.figures, flops=1.5e9 * (i + 1), **told, **counts)  # type: ignore[arg-type]
        figures = replace(figures, same_prediction=0.5 + i / 10)
        known = [SCHEMES["rk4_classic"], ADAPTIVE_SCHEMES["heun_euler"]][i % 2]
        manifestation = Manifestation(known, 16 if i % 2 == 0 else None)
        varied.append(
            replace(one, figures=figures, manifestation=manifestation, parameters=10**7 + i)
        )
    seen = [varied[1].manifestation, Manifestation(SCHEMES["euler"], 7)]
    found = study_of("a", [replace(one, seen=i > 1) for i, one in enumerate(varied)], seen=seen)
    html = page([found, found], [found], {})
    assert len(headings(tables(html)[1])) == 19
    # A scroll bar takes 16 pixels, and the body has a padding of 1 rem on each side.
    assert max(map(width, tables(html))) <= min(76 * 16, 1280 - 16 - 32)
