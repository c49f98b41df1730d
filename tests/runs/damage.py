"""Damage to a tree of containers: every node of it, replaced, removed or repeated."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Path = tuple[Any, ...]
"""The keys that lead from the root of a tree to a node."""

WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**12,
    float("nan"),
    "",
    "${oc.env:HOME}",
    "a\nb\x1b[31m",
    [],
    {},
    {"_target_": "os.getcwd"},
    [[1], {"a": [None]}],
    torch.tensor(1.0),
    torch.zeros(3, 2, dtype=torch.int64),
)
"""Values that take the place of a node."""


def nodes(tree: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of each node below the root."""
    if path:
        yield path
    inside: Any = []
    if isinstance(tree, dict):
        inside = tree.items()
    elif isinstance(tree, list | tuple):
        inside = enumerate(tree)
    for key, value in inside:
        yield from nodes(value, (*path, key))


def replaced(tree: Any, path: Path, value: Any) -> Any:
    """Return a tree with another value at a node; it shares all else with the first one."""
    if not path:
        return value
    key, *rest = path
    changed = copy.copy(tree) if isinstance(tree, dict) else [*tree]
    changed[key] = replaced(tree[key], tuple(rest), value)
    return tuple(changed) if isinstance(tree, tuple) else changed


def removed(tree: Any, path: Path) -> Any:
    """Return a tree without a node."""
    *parent, key = path
    container = value_at(tree, tuple(parent))
    if isinstance(container, dict):
        without: Any = {name: value for name, value in container.items() if name != key}
    else:
        without = [value for i, value in enumerate(container) if i != key]
    return replaced(tree, tuple(parent), without)


def renamed(tree: Any, path: Path) -> Any:
    """Return a tree in which a node has another key, or stands in its list twice."""
    *parent, key = path
    container = value_at(tree, tuple(parent))
    if isinstance(container, dict):
        other = key + 10**6 if isinstance(key, int) else f"{key}_"
        changed: Any = {other if name == key else name: v for name, v in container.items()}
    else:
        changed = [*container, container[key]]
    return replaced(tree, tuple(parent), changed)


def value_at(tree: Any, path: Path) -> Any:
    """Return the node at a path."""
    for key in path:
        tree = tree[key]
    return tree


def damaged(tree: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield a tree for each way to damage one node, with its name."""
    before = value_at(tree, path)
    for value in WRONG:
        if isinstance(value, Tensor) or isinstance(before, Tensor) or value != before:
            yield f"{value!r}", replaced(tree, path, value)
    yield "removed", removed(tree, path)
    yield "renamed", renamed(tree, path)
    if isinstance(before, Tensor):
        yield "one row more", replaced(tree, path, torch.cat([before.reshape(-1)[:1]] * 3))
        yield "not finite", replaced(tree, path, before.double() * float("nan"))
