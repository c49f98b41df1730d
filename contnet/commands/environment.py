"""The environment of an outcome: all it depends on but network, images and variant.

An outcome is loaded from the store instead of being computed again, if its environment is the same:
the machine, PyTorch, and the code that logits and latencies come from. Code is compared by its
syntax trees, so that a new comment, docstring or line break does not repeat a study.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

import contnet
from contnet.runs.provenance import machine

COMPUTING = ("ode", "networks", "data", "invariance/outcome.py", "invariance/recalibration.py")
"""Folders and files of the package that logits and latencies come from."""

PACKAGE = Path(contnet.__file__).parent


def environment(device: torch.device, own: Sequence[str] = ()) -> list[str]:
    """Return the parts of the environment on a device.

    Args:
        device: the device that computes.
        own: the modules of the user's own, imported; modules within them count as well.
    """
    sources = (*_sources(), *_own_sources(own))
    return [device.type, machine(device), torch.__version__, *map(syntax, sources)]


def _sources() -> Iterator[str]:
    for name in COMPUTING:
        path = PACKAGE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield file.read_text(encoding="utf-8")


def _own_sources(own: Sequence[str]) -> Iterator[str]:
    for name in sorted(sys.modules):
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.endswith(".py") and any(f"{name}.".startswith(f"{module}.") for module in own):
            yield Path(file).read_text(encoding="utf-8")


def syntax(source: str) -> str:
    """Return the syntax tree of Python code as text, without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [one for one in body if not _is_bare_string(one)]
            node.body = kept  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_bare_string(node: ast.AST) -> bool:
    """Return True for a docstring of a module, class, function or variable."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
