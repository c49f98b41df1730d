from pathlib import Path

import torch
from PIL import Image

from contnet.data import (
    image_folder,
)
from contnet.data.images import ArrayImages
from tests.data.options import FOLDER


def test_other_pixels_or_labels_have_another_fingerprint(folder: Path) -> None:
    pixels, labels = torch.zeros(3, 2, 2, 1, dtype=torch.uint8), torch.arange(3)
    base = ArrayImages(pixels, labels).fingerprint()
    assert ArrayImages(pixels.clone(), labels).fingerprint() == base
    assert ArrayImages(pixels + 1, labels).fingerprint() != base
    assert ArrayImages(pixels, labels.flip(0)).fingerprint() != base
    files = image_folder(str(folder), **{**FOLDER, "memory_gb": 0}).test
    before = files.fingerprint()
    assert files.fingerprint() == before
    Image.new("RGB", (9, 9)).save(folder / "test" / "cat" / "0.png")
    assert files.fingerprint() != before
