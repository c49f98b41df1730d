"""The tools that hostile files are made with, from the checkpoint of one small run."""

import copy
import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import torch

CANARY = "canary"
"""A file beside the crafted one. No command may touch it."""

OWNED = "OWNED"
"""The file that a command would make if it executed something."""

SHELL = f"touch {OWNED}"
"""What a crafted file tries to have a shell do."""

SECRET = "a-secret-of-the-environment"
"""The value of the variable SECRET. No command may print it."""


@dataclass(frozen=True)
class Good:
    """The run that everything is made from.

    Args:
        folder: its folder.
        url: the address of a server on this machine, which counts the requests it gets.
    """

    folder: Path
    url: str

    @property
    def content(self) -> bytes:
        """The bytes of its checkpoint."""
        return (self.folder / "checkpoints" / "last.ckpt").read_bytes()

    def tree(self) -> dict[str, Any]:
        """Return the tree of its checkpoint, which may be changed."""
        loaded: dict[str, Any] = torch.load(io.BytesIO(self.content), weights_only=True)
        return loaded

    def entries(self) -> dict[str, bytes]:
        """Return the entries of its archive, by name."""
        with zipfile.ZipFile(io.BytesIO(self.content)) as file:
            return {name: file.read(name) for name in file.namelist()}

    def stream(self) -> bytes:
        """Return the pickle stream of its checkpoint."""
        return self.entries()["archive/data.pkl"]


Crafted = Callable[[Good], bytes]
"""A function of the good run that returns the content of a hostile file."""


@dataclass(frozen=True)
class Call:
    """An object that is called when it is unpickled: function(*arguments)."""

    function: Any
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def put(tree: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return a copy of a tree with a value at a place, such as `contnet/config/model`."""
    changed = copy.deepcopy(tree)
    *path, last = (int(name) if name.isdigit() else name for name in place.split("/"))
    inside: Any = changed
    for name in path:
        inside = inside[name]
    inside[last] = value
    return changed


def saved(tree: Any) -> bytes:
    """Return the file that torch.save writes of a tree."""
    content = io.BytesIO()
    torch.save(tree, content)
    return content.getvalue()


def with_value(place: str, value: Any) -> Crafted:
    """Return what makes the good checkpoint with one other value."""
    return lambda good: saved(put(good.tree(), place, value))


def archived(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive of entries."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, entry in entries.items():
            file.writestr(name, entry)
    return content.getvalue()


def with_entry(name: str, entry: bytes) -> Crafted:
    """Return what makes the good archive with an entry more, or another one."""
    return lambda good: archived({**good.entries(), f"archive/{name}": entry})


def with_stream(code: bytes) -> Crafted:
    """Return what makes the good archive with another program; `code` follows its version."""
    return with_entry("data.pkl", b"\x80\x02" + code)


def with_object(code: bytes) -> Crafted:
    """Return what makes the good checkpoint with an object as its class names.

    Args:
        code: instructions that leave the object on the stack.
    """
    marker = "the-place-of-an-object"
    written = pickle.BINUNICODE + len(marker).to_bytes(4, "little") + marker.encode()

    def craft(good: Good) -> bytes:
        entries = archive_of(put(good.tree(), "contnet/classes", marker))
        before, after = entries["archive/data.pkl"].split(written)
        return archived({**entries, "archive/data.pkl": before + code + after})

    return craft


def archive_of(tree: Any) -> dict[str, bytes]:
    """Return the entries of the archive that torch.save writes of a tree."""
    with zipfile.ZipFile(io.BytesIO(saved(tree))) as file:
        return {name: file.read(name) for name in file.namelist()}


@contextmanager
def counting_server() -> Iterator[tuple[str, list[str]]]:
    """Serve nothing on this machine.

    Yields:
        the address, and the list of the paths that are asked for.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
