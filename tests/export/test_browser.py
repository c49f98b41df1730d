"""The page of examples/browser: its images are those of the data set, and it reads drawn digits."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

from contnet import load
from contnet.export.exporting import Exporter, Setting, write_record
from contnet.export.formats import FORMATS
from contnet.export.graph import random_images
from contnet.export.parity import Sample
from tests.processes import ROOT

PAGE = ROOT / "examples" / "browser"

NODE = shutil.which("node")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)

Strokes = list[list[tuple[float, float]]]

SEVEN: Strokes = [[(40, 30), (200, 35), (90, 250)], [(70, 140), (180, 140)]]
DRAWN: dict[str, Strokes] = {
    "seven": SEVEN,
    "one": [[(100.5, 20), (100.5, 260)]],
    "dash": [[(20, 100), (260, 101)]],
    "dot": [[(140, 140)]],
    "zero": [
        [
            (140 + 60 * float(np.cos(a)), 140 + 100 * float(np.sin(a)))
            for a in np.arange(0, 6.4, 0.2)
        ]
    ],
    "corner": [[(1, 2), (3, 9)], [(5, 5), (6, 6), (2, 4)]],
}


def image(strokes: Strokes) -> np.ndarray:
    """Return the image (8, 8) of strokes: an implementation of its own, with arrays."""
    points = np.array([point for stroke in strokes for point in stroke])
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = high - low
    height = max(height, width / 2, 1e-9)
    down = 26.5 / height
    across = min(down, 18.5 / max(width, 1e-9))
    centres = np.stack(np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5), axis=-1)
    bits = np.zeros((32, 32), dtype=bool)
    for stroke in strokes:
        placed = 16 + (np.array(stroke) - (low + high) / 2) * [across, down]
        for a, b in zip([placed[0], *placed[:-1]], placed, strict=True):
            d = b - a
            along = ((centres - a) @ d / max(d @ d, 1e-300)).clip(0, 1)
            bits |= ((centres - a - along[..., None] * d) ** 2).sum(-1) <= 2.75**2
    return np.rint(bits.reshape(8, 4, 8, 4).sum((1, 3)) * 255 / 16).astype(np.uint8)


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_strokes_become_the_same_image_as_in_python() -> None:
    code = (
        f"import {{ image }} from {json.dumps((PAGE / 'digit.mjs').as_uri())};"
        f"console.log(JSON.stringify({json.dumps([*DRAWN.values()])}.map(s => [...image(s)])));"
    )
    done = subprocess.run(
        [str(NODE), "--input-type=module", "-e", code], capture_output=True, text=True, check=True
    )
    for found, (name, strokes) in zip(json.loads(done.stdout), DRAWN.items(), strict=True):
        assert np.array_equal(np.array(found).reshape(8, 8), image(strokes)), name


def test_drawn_digits_have_the_form_of_the_data_set() -> None:
    from sklearn.datasets import load_digits

    published = load_digits()
    for digit, name in ((0, "zero"), (7, "seven")):
        of_class = published.images[published.target == digit] * 255 / 16
        drawn = image(DRAWN[name]).astype(float)
        assert drawn[0].any()
        assert drawn[7].any()  # as high as the image
        assert not drawn[:, 0].any()
        assert 0.7 < drawn.sum() / of_class.sum((1, 2)).mean() < 1.3  # the width of the pen
        assert abs(_centre(drawn) - np.mean([*map(_centre, of_class)])) < 0.6


def _centre(pixels: np.ndarray) -> float:
    return float((pixels * np.arange(8)).sum() / pixels.sum())


def test_the_readme_unpacks_the_files_that_the_page_asks_for() -> None:
    page, readme = (PAGE / "index.html").read_text(), (PAGE / "README.md").read_text()
    version = readme.partition("onnxruntime-web@")[2].partition("\n")[0]
    assert f"onnxruntime-web-{version}.tgz" in readme
    for file in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        assert file in page
        assert f"package/dist/{file}" in readme


# Draws, waits for the class, moves the slider, and tells the server what was read.
DRIVER = """
<script type="module">
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const at = (id) => document.getElementById(id);
async function until(test) { while (!test()) await wait(50); }
function point(kind, [x, y]) {
  const box = at("pad").getBoundingClientRect();
  at("pad").dispatchEvent(new PointerEvent(kind, {
    pointerId: 1, buttons: 1, clientX: box.left + x, clientY: box.top + y }));
}
at("pad").setPointerCapture = () => {};
const found = {};
await until(() => !at("depth").disabled || at("state").textContent !== "Loading ...");
found.state = at("state").textContent;
if (!found.state) {
  for (const stroke of STROKES) {
    point("pointerdown", stroke[0]);
    stroke.slice(1).forEach((one) => point("pointermove", one));
  }
  for (const [value, file] of FILES.entries()) {
    at("depth").value = value;
    at("depth").dispatchEvent(new Event("input"));
    await until(() => at("class").dataset.model === file || at("state").textContent);
    await wait(300);
    found[file] = at("class").textContent + at("state").textContent;
  }
  found.name = at("name").textContent;
  at("clear").click();
  found.cleared = at("class").textContent;
}
await fetch("/found", { method: "POST", body: JSON.stringify(found) });
</script>
"""


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, "Queue[dict[str, Any]]"]]:
    """Serve a folder; yield its address, and what pages send to it."""
    sent: Queue[dict[str, Any]] = Queue()

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", sent
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.long
@pytest.mark.skipif(
    not (PAGE / "ort").is_dir(), reason="no ONNX Runtime in examples/browser/ort: see its README.md"
)
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_drawn_digit_is_read_in_a_browser_at_each_depth(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(PAGE, tmp_path / "page", ignore=shutil.ignore_patterns("models"))
    network = load(trained)
    sample = Sample(random_images(network.preprocessing, 8), None, "random")
    (folder / "models").mkdir()
    exporter = Exporter(network, FORMATS["onnx"], "float32", sample, folder / "models")
    files = [exporter.export(Setting("euler", n)) for n in (1, 3)]
    about = {"classes": network.classes, "image_shape": network.preprocessing.shape}
    write_record(folder / "models", files, about)
    names = [one.path.name for one in files]
    driver = DRIVER.replace("STROKES", json.dumps(SEVEN)).replace("FILES", json.dumps(names))
    (folder / "index.html").write_text((PAGE / "index.html").read_text() + driver)
    with served(folder) as (address, sent):
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}/user",
        ]
        process = subprocess.Popen(
            [str(BROWSER), *options, "--remote-debugging-port=0", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            found = sent.get(timeout=90)
        finally:
            os.killpg(process.pid, 9)
            process.wait()
    pixels = torch.from_numpy(image(SEVEN))
    expected: dict[str, str] = {"state": "", "name": "euler, 3 steps", "cleared": ""}
    for name, n in zip(names, (1, 3), strict=True):
        network.set_manifestation("euler", n)
        expected[name] = network.predict(pixels).classes[0]
    assert found == expected
