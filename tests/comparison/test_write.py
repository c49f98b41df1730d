"""Pictures, page and files of a comparison."""

import re
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from contnet.comparison.comparison import compare
from contnet.comparison.pictures import draw_accuracy, draw_curves, labels, pictures
from contnet.comparison.write import write
from tests.comparison import folders


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder of three runs in two groups."""
    for name, scheme, offset in (("a1", "euler", 0.0), ("a2", "euler", 0.2), ("b", "rk4", 0.4)):
        folder = folders.run(tmp_path / "runs" / name, f"scheme={scheme}", f"seed={name}")
        figures = [{"epoch": e, "train_loss": 1, "train_accuracy": offset + e / 10} for e in (0, 1)]
        folders.epochs(folder, *figures, {"epoch": 1, "test_accuracy": 0.5})
    return tmp_path / "runs"


def drawn(ax: Axes) -> list[list[float]]:
    return [[float(y) for y in line.get_ydata()] for line in ax.get_lines()]


def test_a_curve_is_the_mean_of_its_seeds_with_a_band(runs: Path) -> None:
    ax = draw_curves(compare([runs]).groups, "train_accuracy").axes[0]
    assert drawn(ax) == [pytest.approx([0.1, 0.2]), pytest.approx([0.4, 0.5])]
    assert ax.get_ylabel() == "training accuracy (%)"
    (band,) = ax.collections
    ys = sorted({round(y, 6) for _, y in band.get_paths()[0].vertices})
    deviation = 0.02**0.5
    expected = [0.1 - deviation, 0.2 - deviation, 0.1 + deviation, 0.2 + deviation]
    assert ys == pytest.approx(expected, abs=1e-6)


def test_validation_is_preferred_where_all_groups_have_it(runs: Path) -> None:
    for name in ("a1", "a2"):
        folders.epochs(runs / name, {"epoch": 0, "val_accuracy": 0.5, "train_accuracy": 0.1})
    (figure,) = (made for name, made in pictures(compare([runs]).groups) if name == "curves")
    assert figure.axes[0].get_ylabel() == "training accuracy (%)"
    folders.epochs(runs / "b", {"epoch": 0, "val_accuracy": 0.5})
    (figure,) = (made for name, made in pictures(compare([runs]).groups) if name == "curves")
    assert figure.axes[0].get_ylabel() == "validation accuracy (%)"


def test_a_group_of_several_machines_has_no_place_on_the_axis_of_seconds(runs: Path) -> None:
    folders.run(runs / "c1", "scheme=heun2", "seed=1", machine="fast")
    folders.run(runs / "c2", "scheme=heun2", "seed=2", machine="slow")
    groups = compare([runs]).groups
    assert len(groups) == 3
    legend = draw_accuracy(groups).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["scheme=euler", "scheme=rk4"]


def test_labels_differ_also_where_long_values_are_cut(tmp_path: Path) -> None:
    for i in range(2):
        folders.run(tmp_path / str(i), f"a.pairs={'x' * 200}{i}", "b.pairs=null")
    first, second = labels(compare([tmp_path]).groups)
    assert first != second
    assert max(map(len, (first + second).splitlines())) < 100


def test_the_files_replace_those_of_the_same_names_and_nothing_else(
    runs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "comparison"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "comparison.md").write_text("old")
    (runs / "<b>&").mkdir()
    found = compare([runs, runs / "<b>&"])
    written = write(found, folder)
    names = {f"comparison.{suffix}" for suffix in ("csv", "md", "tex", "html")}
    names |= {f"{name}.{kind}" for name in ("curves", "accuracy") for kind in ("png", "svg")}
    assert {path.name for path in written} == names
    assert {path.name for path in folder.iterdir()} == names | {"notes.txt"}
    assert (folder / "notes.txt").read_text() == "mine"
    page = (folder / "comparison.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "&lt;b&gt;&amp;: no run is there" in page
    assert "<td" in page
    before = {path.name: path.read_bytes() for path in written}
    write(found, folder)
    assert {path.name: path.read_bytes() for path in written} == before


def test_without_figures_there_are_no_pictures(tmp_path: Path) -> None:
    folders.evaluation(tmp_path / "e", {"net": [folders.row("euler", 2, 0.5)]})
    assert {path.name for path in write(compare([tmp_path]), tmp_path / "out")} == {
        f"comparison.{suffix}" for suffix in ("csv", "md", "tex", "html")
    }
