"""Which files of a folder are images, and what is said about the others."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contnet.data import ImageData, image_folder
from tests.data.options import FOLDER


def names(data: ImageData) -> list[str]:
    """Return the names of the training files below their class, of the class `cat`."""
    return [str(file).partition("/cat/")[2] for file in files(data) if "/cat/" in str(file)]


def files(data: ImageData) -> list[Path]:
    return data.train.files


def read(folder: Path, **options: object) -> ImageData:
    return image_folder(root=str(folder), **{**FOLDER, **options})


def line(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one line that reading a folder has logged."""
    (record,) = caplog.records
    return record.getMessage()


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level("INFO"):
        yield


SIX = [f"{i}.png" for i in range(6)]


@pytest.mark.parametrize(
    "hidden", ["._0.png", ".ipynb_checkpoints/0-checkpoint.png", ".a/b/c.png", "a/.b/c.png"]
)
def test_hidden_paths_are_no_images(
    hidden: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = folder / "train" / "cat" / hidden
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "train" / "cat" / "0.png", copy)
    assert names(read(folder)) == SIX
    assert line(caplog).endswith("12 in train, 4 in test; left out: hidden 1")


@pytest.mark.parametrize(
    "suffix", [".pdf", ".txt", "", ".npy", ".eps", ".ps", ".h5", ".mpg", ".fits", ".grib", ".wmf"]
)
def test_only_suffixes_of_image_formats_count(
    suffix: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "train" / "cat" / f"a{suffix}").write_bytes(b"%PDF-1.4")
    assert names(read(folder)) == SIX
    assert line(caplog).endswith(f"left out: no image format 1 ({suffix or 'no suffix'})")


@pytest.mark.parametrize(
    "suffix", [".PNG", ".jpg", ".JPEG", ".bmp", ".gif", ".tif", ".ppm", ".mpo", ".webp"]
)
def test_suffixes_of_image_formats_count_in_any_case(suffix: str, folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "train" / "cat" / f"a{suffix}")
    assert names(read(folder)) == [*SIX, f"a{suffix}"]


def test_linked_folders_and_files_are_followed(folder: Path, tmp_path_factory: object) -> None:
    elsewhere = folder.parent / f"{folder.name}-elsewhere"
    elsewhere.mkdir()
    for name in ("x.png", "y.png"):
        Image.new("RGB", (8, 8)).save(elsewhere / name)
    (folder / "train" / "cat" / "more").symlink_to(elsewhere)
    (folder / "train" / "cat" / "z.png").symlink_to(elsewhere / "x.png")
    for split in ("train", "test"):
        (folder / split / "eel").symlink_to(elsewhere)
    data = read(folder)
    assert names(data) == [*SIX, "more/x.png", "more/y.png", "z.png"]
    assert data.classes == ("cat", "dog", "eel")
    assert data.train.labels.tolist() == [0] * 9 + [1] * 6 + [2] * 2
    data.load_train()
    assert len(data.train) == 17


def test_loops_of_links_end_and_a_folder_counts_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cat = folder / "train" / "cat"
    (cat / "loop").symlink_to(cat)
    (cat / "a").mkdir()
    (cat / "a" / "up").symlink_to(cat)
    Image.new("RGB", (8, 8)).save(cat / "a" / "x.png")
    (cat / "b").symlink_to(cat / "a")
    assert names(read(folder)) == [*SIX, "a/x.png"]
    assert line(caplog).endswith("left out: folders that a second link leads to 3")


def test_a_class_behind_a_broken_link_is_refused_by_name(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / split / "eel").symlink_to(folder / "no such folder")
    with pytest.raises(ValueError, match=r"root: '.*train/eel' is a link that leads nowhere"):
        read(folder)


def test_a_broken_link_to_an_image_is_an_unreadable_image(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cat = folder / "train" / "cat"
    (cat / "lost.png").symlink_to(folder / "no such file.png")
    (cat / "self.png").symlink_to(cat / "self.png")
    (cat / "lost").symlink_to(folder / "no such folder")
    data = read(folder)
    assert line(caplog).endswith("14 in train, 4 in test; left out: broken links 1")
    with pytest.raises(ValueError, match=r"cannot use 2 images: .*lost.png: a link .*self.png: a"):
        data.load_train()
    assert read(folder, memory_gb=0).train.fingerprint() == data.train.fingerprint()


def test_folders_and_special_files_with_the_name_of_an_image_are_none(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cat = folder / "train" / "cat"
    (cat / "deep.png").mkdir()
    Image.new("RGB", (8, 8)).save(cat / "deep.png" / "x.png")
    os.mkfifo(cat / "pipe.png")
    (cat / "to_a_pipe.png").symlink_to(cat / "pipe.png")  # its reader would wait without an end
    (cat / "to_a_device.png").symlink_to("/dev/zero")
    assert names(read(folder)) == [*SIX, "deep.png/x.png"]
    assert line(caplog).endswith("left out: neither file nor folder 3")


def test_one_line_says_what_is_there_and_what_is_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "val").mkdir()
    shutil.copytree(folder / "test" / "cat", folder / "val" / "cat")
    for name in ("0.png", "notes.txt", ".DS_Store"):
        (folder / "train" / name).touch()
    for suffix in (".csv", ".json", ".npy", ".pdf", ".txt", ".xml", ".yaml"):
        (folder / "test" / "dog" / f"a{suffix}").touch()
    read(folder, val_size=None)
    assert line(caplog) == (
        f"{folder}: 2 classes; images: 12 in train, 4 in test, 2 in val; left out: no image format "
        "7 (.csv, .json, .npy, .pdf, .txt and others), beside the class folders 2, hidden 1"
    )
    caplog.clear()
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "dog")
        shutil.copytree(folder / split / "cat", folder / split / "dog")
    shutil.rmtree(folder / "val")
    for file in (folder / "train").glob("*.*"):
        file.unlink()
    read(folder)
    assert line(caplog) == f"{folder}: 2 classes; images: 12 in train, 4 in test"


@pytest.mark.parametrize(
    ("call", "closed"),
    [
        *product(["scandir", "stat"], ["train", "train/cat", "train/cat/more", "test/dog"]),
        ("stat", ""),
    ],
)
def test_a_folder_that_may_not_be_read_is_named(
    call: str, closed: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user who is not root, whom the system lets in everywhere."""
    (folder / "train" / "cat" / "more").mkdir()
    original = getattr(os, call)
    refused = folder / closed

    def refuse(path: Any, *arguments: Any, **options: Any) -> object:
        inside = Path(path) == refused if call == "scandir" else refused in Path(path).parents
        if inside:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *arguments, **options)

    (refused / "link").symlink_to(folder / "test")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        name = re.escape(str(refused))
        with pytest.raises(ValueError, match=rf"^root: cannot read {name}.*: Permission denied$"):
            read(folder)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\udcffb"])
def test_names_that_cannot_be_printed_are_escaped_in_messages(
    name: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "train" / "cat" / f"{name}.png").write_text("no image")
    (folder / "train" / "cat" / f"a.{name}").touch()
    for skips in (True, False):
        data = read(folder, skip_unreadable=skips)
        with nullcontext() if skips else pytest.raises(ValueError, match="cannot use") as raised:
            data.load_train()
    told = [str(raised.value), *(record.getMessage() for record in caplog.records)]
    assert all(text.isprintable() for text in told)
    assert sum(repr(name)[1:-1] in text for text in told) == 4


def test_a_root_in_the_home_folder_may_be_written_with_a_tilde(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert names(image_folder(root=f"~/{folder.name}", **FOLDER)) == SIX
