"""Tables for a screen, Markdown, LaTeX and CSV."""

import csv
from pathlib import Path

import pytest

from contnet.comparison.comparison import compare
from contnet.comparison.tables import Table, as_csv, as_latex, as_markdown, as_text
from tests.comparison import folders


def table(n_settings: int, n_figures: int, length: int = 8) -> Table:
    """Return a table of four rows."""
    headings = [f"group.key{i}" for i in range(n_settings)]
    rows = []
    for r in range(4):
        figures = [f"{r}.{i:03} ± 0.1" for i in range(n_figures)]
        rows.append([*["v" * length + str(r)] * n_settings, *figures])
    headings += [f"figure {i}" for i in range(n_figures)]
    return Table("title", ["in all runs: a=1"], headings, n_settings, rows, ["below"], [])


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("n_settings", [0, 1, 6])
@pytest.mark.parametrize("n_figures", [1, 6, 20])
@pytest.mark.parametrize("length", [1, 30])
def test_a_table_fits_every_screen_and_loses_nothing(
    width: int, n_settings: int, n_figures: int, length: int
) -> None:
    made = table(n_settings, n_figures, length)
    text = as_text(made, width)
    assert max(map(len, text.splitlines())) <= width
    for row in made.rows:
        for cell in row:
            assert cell.partition(" ")[0] in text
    assert text.splitlines()[0] == "title"
    assert text.endswith("\nbelow\n")


def test_a_table_for_a_file_is_not_cut() -> None:
    lines = as_text(table(6, 30, 30)).splitlines()
    assert len([line for line in lines if line.startswith("│")]) == 4


ODD = Table("t_1", ["a=b_c"], ["k%", "a_b"], 1, [[r"x&y\z[bold]|~^", "1 ± 2"]], ["50% #1"], [])


def test_signs_that_latex_gives_a_meaning_are_themselves() -> None:
    assert as_latex(ODD).splitlines() == [
        "% t_1",
        "% a=b_c",
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"k\% & a\_b \\",
        r"\midrule",
        r"x\&y\textbackslash{}z[bold]\textbar{}\textasciitilde{}\textasciicircum{} & 1 $\pm$ 2 \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% 50% #1",
    ]


def test_signs_that_markdown_or_rich_give_a_meaning_are_themselves() -> None:
    assert r"| x&y\\z\[bold\]\|~^ | 1 ± 2 |" in as_markdown(ODD).splitlines()
    assert "x&y\\z[bold]|~^" in as_text(ODD)


def test_csv_has_full_precision_and_every_setting(tmp_path: Path) -> None:
    for seed, accuracy in enumerate([0.1, 0.2]):
        name, overrides = str(seed), ("epochs=1", f"seed={seed}")
        folders.run(tmp_path / name, *overrides, test_accuracy=accuracy)
    folders.evaluation(tmp_path / "e", {"net": [folders.row("euler", 2, 1 / 3)]})
    runs, networks = csv.DictReader(as_csv(compare([tmp_path]).tables).splitlines())
    assert (runs["epochs"], runs["runs"]) == ("1", "2")
    assert float(runs["test_accuracy_mean"]) == pytest.approx(0.15, rel=1e-15)
    assert float(runs["test_accuracy_std"]) == pytest.approx(0.1 / 2**0.5, rel=1e-14)
    assert (networks["network"], networks["accuracy"]) == ("net", str(1 / 3))
