"""Rules for the values in the tree of a checkpoint, from which `schema` is made.

A rule is a function of a place in the tree and the value there. It raises `MalformedError` if the
value is not allowed.
"""

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

from contnet.runs.archive import MalformedError
from contnet.runs.tensors import Stored

DEEPEST = 24
"""Levels of containers within containers. A checkpoint has 10."""

MOST_VALUES = 1_000_000
"""Values in the containers of a checkpoint."""

LONGEST = 4096
"""Characters of a string."""

Rule = Callable[[str, Any], None]


def check_plain(tree: Any) -> None:
    """Check that a tree is not too deep or large, also where a part of it is shared or endless.

    Raises:
        MalformedError: if it is.
    """
    for n_values, value in enumerate(values(tree)):
        if n_values > MOST_VALUES:
            raise MalformedError(f"it holds more than {MOST_VALUES:,} values")
        if not isinstance(value, dict | list | tuple | Stored | str | int | float | None):
            raise MalformedError(f"it holds a {type(value).__name__.lstrip('_')}")


def values(tree: Any) -> Iterator[Any]:
    """Yield the containers and values of a tree, as often as they can be reached.

    Raises:
        MalformedError: if containers lie within containers too deep.
    """
    unseen = [(tree, 0)]
    while unseen:
        value, level = unseen.pop()
        if level > DEEPEST:
            raise MalformedError(f"it holds containers within containers, {level} levels deep")
        yield value
        if isinstance(value, dict | list | tuple):
            inside = value.values() if isinstance(value, dict) else value
            unseen += [(one, level + 1) for one in inside]


def require(allowed: bool, place: str, what: str) -> None:
    """Raise `MalformedError` unless the value at a place is allowed; `what` says what is."""
    if not allowed:
        raise MalformedError(f"{place.lstrip('.') or 'it'} must be {what}")


def integer(minimum: int, maximum: int = 2**53) -> Rule:
    """Return the rule of a whole number from `minimum` to `maximum`."""

    def rule(place: str, value: Any) -> None:
        allowed = type(value) is int and minimum <= value <= maximum
        require(allowed, place, f"a whole number from {minimum:,} to {maximum:,}")

    return rule


def number(place: str, value: Any) -> None:
    """Check a number, which may be infinite or NaN."""
    require(type(value) in (int, float), place, "a number")


def finite(place: str, value: Any) -> None:
    """Check a finite number."""
    number(place, value)
    require(isfinite(value), place, "a finite number")


def positive(place: str, value: Any) -> None:
    """Check a finite number of at least 0."""
    number(place, value)
    require(isfinite(value) and value >= 0, place, "a number of at least 0")


def one_of(*allowed: str) -> Rule:
    """Return the rule of one of several names."""
    names = ", ".join(allowed)
    return lambda place, value: require(value in allowed, place, f"one of {names}")


def text(place: str, value: Any) -> None:
    """Check a string that may stand in a message: one line, without control characters."""
    allowed = isinstance(value, str) and value.isprintable() and len(value) <= LONGEST
    require(allowed, place, "a string of one line")


def boolean(place: str, value: Any) -> None:
    """Check True or False."""
    require(isinstance(value, bool), place, "true or false")


def tensor(place: str, value: Any) -> None:
    """Check a tensor."""
    require(isinstance(value, Stored), place, "a tensor")


def dictionary(place: str, value: Any) -> None:
    """Check a dictionary with strings as keys."""
    allowed = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    require(allowed, place, "a dictionary with strings as keys")


def optional(rule: Rule) -> Rule:
    """Return the rule that also allows None."""
    return lambda place, value: None if value is None else rule(place, value)


def each(rule: Rule, minimum: int = 0, maximum: int = 2**53) -> Rule:
    """Return the rule of a list of `minimum` to `maximum` values that follow `rule`."""

    def check_each(place: str, value: Any) -> None:
        what = "a list" if maximum == 2**53 else f"a list of {minimum:,} to {maximum:,} values"
        allowed = isinstance(value, list | tuple) and minimum <= len(value) <= maximum
        require(allowed, place, what)
        for i, one in enumerate(value):
            rule(f"{place}[{i}]", one)

    return check_each


def mapping(rule: Rule, key: type = str) -> Rule:
    """Return the rule of a dictionary of any keys of a type, whose values follow `rule`."""

    def check_mapping(place: str, value: Any) -> None:
        allowed = isinstance(value, dict) and all(type(name) is key for name in value)
        allowed = allowed and all(str(name).isprintable() for name in value)
        require(allowed, place, f"a dictionary with keys of type {key.__name__}")
        for name, one in value.items():
            rule(f"{place}.{name}", one)

    return check_mapping


def keys(required: dict[str, Rule], others: dict[str, Rule] | None = None) -> Rule:
    """Return the rule of a dictionary with `required` keys; `others` may be there, or any key."""

    def check_keys(place: str, value: Any) -> None:
        dictionary(place, value)
        missing = sorted(set(required) - set(value))
        require(not missing, place, f"a dictionary with the key {', '.join(missing[:1])}")
        for name, rule in {**required, **(others or {})}.items():
            if name in value:
                rule(f"{place}.{name}", value[name])

    return check_keys


def counters(place: str, value: Any) -> None:
    """Check counts of Lightning's loops: whole numbers in dictionaries and lists."""
    if isinstance(value, dict):
        mapping(counters)(place, value)
    elif isinstance(value, list):
        each(counters)(place, value)
    elif not isinstance(value, bool):
        integer(0)(place, value)


def resolved(place: str, value: Any) -> None:
    """Check a configuration without interpolations: nothing in it is looked up elsewhere."""
    if isinstance(value, dict):
        mapping(resolved)(place, value)
    elif isinstance(value, list):
        each(resolved)(place, value)
    elif isinstance(value, str):
        require("${" not in value and value != "???", place, "a value, not an interpolation")
    else:
        is_plain = not isinstance(value, Stored | tuple)
        require(is_plain, place, "a number, a string, a list or a dictionary")
