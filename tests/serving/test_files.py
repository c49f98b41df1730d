"""The files that a prediction is asked for, and the labels that their folders give them."""

from pathlib import Path

import pytest
from PIL import Image

from contnet.errors import ConfigError
from contnet.serving.files import find_images

CLASSES = ("cat", "dog")


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)


def found(*names: str) -> dict[str, int | None]:
    return {str(file.path): file.label for file in find_images(names, CLASSES)}


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "test/cat/a.png", "test/dog/deep/b.png", "test/other/c.png", "d.png")
    (tmp_path / "test" / "notes.txt").touch()
    (tmp_path / "test" / "cat" / ".hidden.png").touch()


def test_a_folder_stands_for_the_images_below_it_and_classes_for_labels() -> None:
    expected = {"test/cat/a.png": 0, "test/dog/deep/b.png": 1, "test/other/c.png": None}
    assert found("test") == expected
    assert found("test/cat") == {"test/cat/a.png": 0}
    assert found("test/dog") == {"test/dog/deep/b.png": None}
    assert found(".") == {"d.png": None, **expected, "test/dog/deep/b.png": None}


def test_files_and_patterns_are_found_once(tmp_path: Path) -> None:
    assert found("d.png", "*.png", "test/cat/a.png", "test/*/*.png") == {
        "d.png": None,
        "test/cat/a.png": 0,
        "test/other/c.png": None,
    }
    assert list(found(f"{tmp_path}/*.png")) == [f"{tmp_path}/d.png"]


def test_a_file_whose_name_is_a_pattern_is_a_file(tmp_path: Path) -> None:
    write(tmp_path, "[1].png")
    assert found("[1].png") == {"[1].png": None}


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images: cannot read a+: File name"):
        found("a" * 300)


@pytest.mark.parametrize("name", ["nowhere.png", "nowhere/*.png", "empty"])
def test_a_name_that_stands_for_no_image_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="images must name at least one image; there is none at"):
        found("d.png", name)
