"""Objects that the user's own configuration names.

A configuration that is composed from the command line and the user's folders is the user's program:
it may name anything that can be imported, also from a Python file in the working directory. What a
checkpoint holds is data, and passes `trust` first.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate as build
from omegaconf import DictConfig, OmegaConf

from contnet.commands.failures import config_errors
from contnet.errors import ConfigError, described
from contnet.runs.names import TRACEBACK, imported, targets

LIBRARIES = ("contnet", "torch", "pytorch_lightning", "torchmetrics", "torchvision")
"""Packages whose refusal of an argument names the argument well enough."""

HAVE_OWN = ("model", "dataset")
"""Groups with an option `own`, which has no keys but the name of a class."""

MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: '(\w+)'")


def instantiate(key: str, node: DictConfig, **arguments: Any) -> Any:
    """Build the object that a node of the configuration describes.

    Args:
        key: the key of the node, for messages.
        node: the name of a class or function as `_target_`, and its arguments.
        arguments: more arguments, which replace those of the node.

    Raises:
        ConfigError: if a name cannot be imported, an argument is not allowed, or the call fails.
    """
    for missing in sorted(OmegaConf.missing_keys(node)):
        missing = f"{key}.{missing.removeprefix(f'{key}.')}"  # counted from the root or the node
        raise ConfigError(f"{missing} must be given, as {missing}=...")
    for place, target in targets(OmegaConf.to_container(node, resolve=True), key):
        imported(place, target)
    with _call_errors(key, str(node.get("_target_"))):
        return build(node, _convert_="all", **arguments)


def factory(key: str, node: DictConfig, **arguments: Any) -> Callable[..., Any]:
    """Return a function that builds the object of a node, given the arguments still missing.

    Raises:
        ConfigError: if the name cannot be imported; the function itself, as `instantiate`.
    """
    target = str(node.get("_target_"))
    make = instantiate(key, node, _partial_=True, **arguments)

    def called(*positional: Any, **options: Any) -> Any:
        with _call_errors(key, target):
            return make(*positional, **options)

    called.__signature__ = signature(make)  # type: ignore[attr-defined]
    return called


def accepted(make: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Return those of the keyword arguments that a function takes."""
    parameters = signature(make).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


def signature(make: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function; of one written in C, that it takes anything."""
    try:
        return inspect.signature(make)
    except ValueError:
        return inspect.signature(lambda *_, **__: None)


def check_kind(key: str, node: DictConfig, made: Any, kind: type, meaning: str) -> None:
    """Check the type of the object that a node has built.

    Args:
        key: the key of the node.
        node: the node.
        made: the object.
        kind: the type that it must have.
        meaning: what such an object is called in a message, such as "an optimizer".

    Raises:
        ConfigError: if it has another type.
    """
    if not isinstance(made, kind):
        raise ConfigError(
            f"{key}._target_ must make {meaning}; {node.get('_target_')} made an object of type "
            f"{type(made).__name__}"
        )


def is_own(target: str) -> bool:
    """Return True for a name outside contnet and the libraries that it is built on."""
    return target.partition(".")[0] not in LIBRARIES


@contextmanager
def _call_errors(key: str, target: str) -> Iterator[None]:
    """Translate what a call of `target` raises into a `ConfigError` that names the key."""
    try:
        with config_errors(key):
            yield
    except ConfigError as error:
        cause = _raised_by_target(error)
        if isinstance(cause, ConfigError) and cause is not error:  # names its key already
            raise
        missing = MISSING.search(str(cause))
        if missing and isinstance(cause, TypeError):
            message = f"{key}.{missing[1]} must be given; {target} needs it"
            raise ConfigError(message) from error
        if not is_own(target):
            raise
        message = f"{key}: {target} cannot be used; {described(cause)}; {TRACEBACK}"
        if "is not an option of" in str(error):
            own = f"; {key}=own has no keys of another class" if key in HAVE_OWN else ""
            message = f"{error}{own}"
        raise ConfigError(message) from error
    except (Exception, SystemExit) as error:
        if not is_own(target):
            raise
        message = f"{key}: {target} cannot be used; {described(error)}; {TRACEBACK}"
        raise ConfigError(message) from error


def _raised_by_target(error: ConfigError) -> BaseException:
    """Return the error that the target raised, of which `error` is the translation."""
    cause = error.__cause__ or error
    return (cause.__cause__ or cause) if isinstance(cause, InstantiationException) else cause
